// Declarations of Core ML as far as the probe uses them, from Apple's documentation; bodies do nothing. For type-checking only.
import Foundation

public enum MLComputeUnits: Int { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public enum MLMultiArrayDataType: Int { case double, float32, float16, int32 }

public final class MLModelConfiguration {
    public init() {}
    public var computeUnits: MLComputeUnits = .all
    public var functionName: String?
}

public final class MLMultiArray {
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws { fatalError() }
    public var shape: [NSNumber] { fatalError() }
    public var strides: [NSNumber] { fatalError() }
    public var dataType: MLMultiArrayDataType { fatalError() }
    public func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R) rethrows -> R { fatalError() }
    public func withUnsafeBufferPointer<S: MLShapedArrayScalar, R>(
        ofType: S.Type, _ body: (UnsafeBufferPointer<S>) throws -> R
    ) rethrows -> R { fatalError() }
}

public protocol MLShapedArrayScalar {}
extension Float16: MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}
extension Double: MLShapedArrayScalar {}
extension Int32: MLShapedArrayScalar {}

public final class MLFeatureValue {
    public init(multiArray: MLMultiArray) {}
    public var multiArrayValue: MLMultiArray? { fatalError() }
}

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public final class MLDictionaryFeatureProvider: MLFeatureProvider {
    public init(dictionary: [String: Any]) throws { fatalError() }
    public var featureNames: Set<String> { fatalError() }
    public func featureValue(for featureName: String) -> MLFeatureValue? { fatalError() }
}

public final class MLState {}
public final class MLMultiArrayConstraint {
    public var shape: [NSNumber] { fatalError() }
    public var dataType: MLMultiArrayDataType { fatalError() }
}
public final class MLFeatureDescription {
    public var multiArrayConstraint: MLMultiArrayConstraint? { fatalError() }
}
public final class MLModelDescription {
    public var inputDescriptionsByName: [String: MLFeatureDescription] { fatalError() }
}
public final class MLPredictionOptions { public init() {} }

public final class MLModel {
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws { fatalError() }
    public static func compileModel(at url: URL) async throws -> URL { fatalError() }
    public func makeState() -> MLState { fatalError() }
    public var modelDescription: MLModelDescription { fatalError() }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { fatalError() }
    public func prediction(from input: any MLFeatureProvider, using state: MLState) throws -> any MLFeatureProvider { fatalError() }
    public func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError() }
    public func prediction(
        from input: any MLFeatureProvider, using state: MLState, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError() }
}

public final class MLCPUComputeDevice {}
public final class MLGPUComputeDevice {}
public final class MLNeuralEngineComputeDevice {}
public enum MLComputeDevice {
    case cpu(MLCPUComputeDevice)
    case gpu(MLGPUComputeDevice)
    case neuralEngine(MLNeuralEngineComputeDevice)
}

public enum MLModelStructure {
    public struct NeuralNetwork {}
    public struct Pipeline {}
    public struct Program {
        public struct NamedValueType { public let name: String }
        public struct Operation {
            public let operatorName: String
            public let outputs: [NamedValueType]
            public let blocks: [Block]
        }
        public struct Block { public let operations: [Operation] }
        public struct Function { public let block: Block }
        public let functions: [String: Function]
    }
    case neuralNetwork(NeuralNetwork)
    case program(Program)
    case pipeline(Pipeline)
    case unsupported
}

public final class MLComputePlan {
    public struct DeviceUsage {
        public let supported: [MLComputeDevice]
        public let preferred: MLComputeDevice
    }
    public struct Cost { public let weight: Double }
    public static func load(contentsOf url: URL, configuration: MLModelConfiguration) async throws -> MLComputePlan { fatalError() }
    public var modelStructure: MLModelStructure { fatalError() }
    public func deviceUsage(for operation: MLModelStructure.Program.Operation) -> DeviceUsage? { fatalError() }
    public func estimatedCost(of operation: MLModelStructure.Program.Operation) -> Cost? { fatalError() }
}
