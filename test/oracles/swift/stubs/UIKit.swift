// Declarations of UIKit as far as the probe uses them. For type-checking only.
import Foundation

public enum UIUserInterfaceIdiom: Int { case unspecified, phone, pad }

@MainActor public final class UIDevice {
    public enum BatteryState: Int { case unknown, unplugged, charging, full }
    public static let current = UIDevice()
    public var userInterfaceIdiom: UIUserInterfaceIdiom { fatalError() }
    public var systemName: String { fatalError() }
    public var systemVersion: String { fatalError() }
    public var isBatteryMonitoringEnabled = false
    public var batteryLevel: Float { fatalError() }
    public var batteryState: BatteryState { fatalError() }
}

@MainActor public final class UIApplication {
    public static var shared: UIApplication { fatalError() }
    public var isIdleTimerDisabled = false
}

@MainActor open class UIViewController: NSObject {}
