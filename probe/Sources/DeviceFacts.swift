// What this device is and how it fares: hardware, memory, heat, battery.

import Darwin
import Foundation
import UIKit
import os

enum DeviceFacts {
    /// Apple's name of the hardware, as `iPhone16,1`.
    static var identifier: String { text("hw.machine") ?? "unknown" }

    static var systemBuild: String? { text("kern.osversion") }

    /// The chip, where the hardware is one that the probe was told of; Apple gives no name for it.
    static var chip: String? { chips[identifier] }

    private static let chips: [String: String] = [
        "iPhone14,2": "A15", "iPhone14,3": "A15", "iPhone14,4": "A15", "iPhone14,5": "A15", "iPhone14,6": "A15",
        "iPhone14,7": "A15", "iPhone14,8": "A15", "iPhone15,2": "A16", "iPhone15,3": "A16", "iPhone15,4": "A16",
        "iPhone15,5": "A16", "iPhone16,1": "A17 Pro", "iPhone16,2": "A17 Pro", "iPhone17,1": "A18 Pro",
        "iPhone17,2": "A18 Pro", "iPhone17,3": "A18", "iPhone17,4": "A18", "iPhone17,5": "A18",
        "iPhone18,1": "A19 Pro", "iPhone18,2": "A19 Pro", "iPhone18,3": "A19", "iPhone18,4": "A19 Pro",
    ]

    @MainActor static func device() -> Report.Device {
        let kind = UIDevice.current.userInterfaceIdiom == .pad ? "ipad" : "iphone"
        return Report.Device(
            kind: kind,
            identifier: identifier,
            chip: chip,
            system: UIDevice.current.systemName,
            systemVersion: UIDevice.current.systemVersion,
            systemBuild: systemBuild,
            memoryBytes: Int(ProcessInfo.processInfo.physicalMemory),
            lowPowerMode: ProcessInfo.processInfo.isLowPowerModeEnabled
        )
    }

    static var tools: Report.Tools {
        #if PROBE_RELEASE
            let configuration = "release"
        #else
            let configuration = "debug"
        #endif
        return Report.Tools(
            probe: Report.probeVersion,
            configuration: configuration,
            compiler: Bundle.main.object(forInfoDictionaryKey: "DTXcodeBuild") as? String,
            sdk: Bundle.main.object(forInfoDictionaryKey: "DTSDKName") as? String
        )
    }

    static var thermalState: String {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: "nominal"
        case .fair: "fair"
        case .serious: "serious"
        case .critical: "critical"
        @unknown default: "unknown"
        }
    }

    /// 0 to 100; nil where the device does not say.
    @MainActor static var battery: (percent: Double, charging: Bool)? {
        UIDevice.current.isBatteryMonitoringEnabled = true
        let level = UIDevice.current.batteryLevel
        guard level >= 0 else { return nil }
        let state = UIDevice.current.batteryState
        return (Double(level) * 100, state == .charging || state == .full)
    }

    /// What the system counts against the app's limit.
    static var footprintBytes: Int {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let result = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return result == KERN_SUCCESS ? Int(info.phys_footprint) : 0
    }

    static var availableBytes: Int { os_proc_available_memory() }

    private static func text(_ name: String) -> String? {
        var size = 0
        guard sysctlbyname(name, nil, &size, nil, 0) == 0, size > 0 else { return nil }
        var buffer = [CChar](repeating: 0, count: size)
        guard sysctlbyname(name, &buffer, &size, nil, 0) == 0 else { return nil }
        return String(cString: buffer)
    }
}
