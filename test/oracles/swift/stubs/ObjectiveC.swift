// What Foundation has on Apple's systems and not elsewhere. For type-checking only.
import Foundation

public func autoreleasepool<Result>(invoking body: () throws -> Result) rethrows -> Result { try body() }

extension ProcessInfo {
    public enum ThermalState: Int { case nominal, fair, serious, critical }
    public var thermalState: ThermalState { fatalError() }
    public var isLowPowerModeEnabled: Bool { fatalError() }
}
