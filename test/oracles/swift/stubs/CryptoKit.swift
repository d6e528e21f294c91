// Declarations of CryptoKit as far as the probe uses them. For type-checking only.
import Foundation

public struct SHA256Digest: Sequence {
    public func makeIterator() -> Array<UInt8>.Iterator { fatalError() }
}
public struct SHA256 {
    public init() {}
    public mutating func update<D: DataProtocol>(data: D) {}
    public func finalize() -> SHA256Digest { fatalError() }
}
