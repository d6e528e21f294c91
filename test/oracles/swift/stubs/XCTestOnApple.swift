// What XCTest has on Apple's systems and not elsewhere. For type-checking only.
import Foundation
import XCTest

public final class XCTAttachment {
    public enum Lifetime { case keepAlways, deleteOnSuccess }
    public init(data: Data, uniformTypeIdentifier: String) {}
    public var name: String?
    public var lifetime: Lifetime = .deleteOnSuccess
}
extension XCTestCase { public func add(_ attachment: XCTAttachment) {} }
