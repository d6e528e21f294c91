// The whole of it: opens the payload, measures every chosen unit, watches heat and battery, writes the report to the documents, and
// sends it where a pairing says. The screens show its state; the unattended test calls `measure` alone.

import Foundation
import Observation
import UIKit

@MainActor @Observable
final class ProbeRunner {
    private(set) var payload: Payload?
    private(set) var stage = ""
    private(set) var problem: String?
    private(set) var isRunning = false
    private(set) var report: Report?
    private(set) var reportFile: URL?
    private(set) var windows: [Report.Window] = []
    private(set) var sendState = ""
    var settings = MeasurementSettings()
    private let cancelled = CancelFlag()
    private var thermal: [Report.Thermal] = []

    func open() {
        do { payload = try Payload.open() } catch { problem = String(describing: error) }
    }

    func cancel() { cancelled.set(true) }

    /// Measures and keeps the report. Throws only when there is nothing to measure.
    @discardableResult
    func measure() async throws -> Report {
        if payload == nil { payload = try Payload.open() }
        guard let payload else { throw ProbeError("there is no payload") }
        isRunning = true
        problem = nil
        windows = []
        thermal = []
        cancelled.set(false)
        // A phone that falls asleep measures nothing.
        UIApplication.shared.isIdleTimerDisabled = true
        defer {
            isRunning = false
            stage = ""
            UIApplication.shared.isIdleTimerDisabled = false
        }
        let started = Date()
        let watching = watchHeat(since: started)
        defer { watching.cancel() }
        let batteryBefore = DeviceFacts.battery
        stage = "reading the package"
        let package = payload.package
        let hash = try await Task.detached(priority: .userInitiated) { try PackageHash(package: package) }.value
        guard hash.sha256 == payload.manifest.sha256 else {
            throw ProbeError(
                "the package in this app is not the one that it was built for",
                hint: "Build the probe again from the folder that the export wrote.")
        }
        var runs: [Report.Run] = []
        let settings = settings
        let progress = progress()
        for units in settings.units where !cancelled.isSet {
            stage = "\(units.title): compiling"
            runs.append(
                await Task.detached(priority: .userInitiated) {
                    await Self.measureOne(units, payload, hash.sha256, settings, progress)
                }.value)
        }
        let batteryAfter = DeviceFacts.battery
        let seconds = Date().timeIntervalSince(started)
        var made = Report(
            package: Report.Package(
                name: payload.manifest.name, sha256: hash.sha256, weightsSha256: hash.weightsSha256,
                sizeBytes: hash.sizeBytes),
            device: DeviceFacts.device(), tools: DeviceFacts.tools,
            startedAt: ISO8601DateFormatter().string(from: started), durationSeconds: seconds, runs: runs,
            thermal: thermal, battery: nil, notMeasured: [])
        if let batteryBefore, let batteryAfter {
            made.battery = Report.Battery(
                startPercent: batteryBefore.percent, endPercent: batteryAfter.percent, overSeconds: seconds,
                charging: batteryBefore.charging || batteryAfter.charging)
        }
        made.notMeasured = gaps(made)
        report = made
        reportFile = try keep(made)
        return made
    }

    func measureForScreen() async {
        do { try await measure() } catch { problem = String(describing: error) }
    }

    /// Sends the report once; the token is used up by it.
    func send(to link: PairingLink) async {
        guard let report else {
            sendState = "Measure first: there is no report yet."
            return
        }
        sendState = "sending"
        do {
            let answer = try await ReportSender.send(report, to: link)
            sendState = "sent as \(answer.id)"
        } catch {
            sendState = String(describing: error)
        }
    }

    private nonisolated static func measureOne(
        _ units: Units, _ payload: Payload, _ hash: String, _ settings: MeasurementSettings,
        _ progress: MeasurementProgress
    ) async -> Report.Run {
        do {
            let compiled = try await CompiledPackage.compile(payload.package, hash: hash, anew: settings.compilesAnew)
            return await Measurement(payload: payload, settings: settings, progress: progress).run(units, compiled)
        } catch {
            var run = Report.Run(computeUnits: units.rawValue)
            run.failures.append(Report.Failure("compile", error))
            return run
        }
    }

    private func progress() -> MeasurementProgress {
        let cancelled = cancelled
        return MeasurementProgress(
            stage: { text in Task { @MainActor [weak self] in self?.stage = text } },
            window: { window in Task { @MainActor [weak self] in self?.windows.append(window) } },
            isCancelled: { cancelled.isSet })
    }

    private func watchHeat(since start: Date) -> Task<Void, Never> {
        Task { [weak self] in
            var last = ""
            while !Task.isCancelled {
                let state = DeviceFacts.thermalState
                if state != last {
                    last = state
                    self?.thermal.append(Report.Thermal(atSeconds: Date().timeIntervalSince(start), state: state))
                }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    private func gaps(_ report: Report) -> [Report.NotMeasured] {
        var gaps = [Report.NotMeasured(what: "energy", why: "iOS tells an app no figure for it; Instruments can.")]
        if report.runs.allSatisfy({ $0.sustained == nil }) {
            gaps.append(Report.NotMeasured(what: "sustained speed", why: "no minutes were asked for"))
        }
        if report.battery == nil {
            gaps.append(Report.NotMeasured(what: "battery", why: "the device does not tell its charge"))
        }
        if cancelled.isSet {
            gaps.append(Report.NotMeasured(what: "the rest", why: "the measurement was stopped"))
        }
        return gaps
    }

    /// `Documents/report.json`, which probe.sh pulls, the Files app shows, and the share button sends.
    private func keep(_ report: Report) throws -> URL {
        let documents = try FileManager.default.url(
            for: .documentDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let file = documents.appendingPathComponent("report.json")
        try report.encoded().write(to: file, options: .atomic)
        return file
    }
}

/// Set on one thread, read on another.
final class CancelFlag: @unchecked Sendable {
    private let lock = NSLock()
    private var value = false

    var isSet: Bool {
        lock.lock()
        defer { lock.unlock() }
        return value
    }

    func set(_ new: Bool) {
        lock.lock()
        value = new
        lock.unlock()
    }
}
