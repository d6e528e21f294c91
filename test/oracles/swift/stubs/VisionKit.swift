// Declarations of VisionKit and Vision as far as the probe uses them. For type-checking only.
import Foundation
import UIKit

public struct VNBarcodeSymbology: Hashable, Sendable {
    public static let qr = VNBarcodeSymbology()
}

public enum RecognizedItem {
    public struct Text {}
    public struct Barcode { public var payloadStringValue: String? { fatalError() } }
    case text(Text)
    case barcode(Barcode)
}

@MainActor public protocol DataScannerViewControllerDelegate: AnyObject {
    func dataScanner(_ dataScanner: DataScannerViewController, didAdd addedItems: [RecognizedItem], allItems: [RecognizedItem])
}

@MainActor public final class DataScannerViewController: UIViewController {
    public struct RecognizedDataType: Hashable {
        public static func barcode(symbologies: [VNBarcodeSymbology] = []) -> RecognizedDataType { fatalError() }
    }
    public enum QualityLevel { case balanced, fast, accurate }
    public static var isSupported: Bool { fatalError() }
    public init(
        recognizedDataTypes: Set<RecognizedDataType>, qualityLevel: QualityLevel = .balanced,
        recognizesMultipleItems: Bool = false, isHighFrameRateTrackingEnabled: Bool = true,
        isPinchToZoomEnabled: Bool = true, isGuidanceEnabled: Bool = true, isHighlightingEnabled: Bool = false
    ) { fatalError() }
    public weak var delegate: (any DataScannerViewControllerDelegate)?
    public func startScanning() throws {}
}
