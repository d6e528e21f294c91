// A package compiled on this device and its functions loaded for one choice of compute units.

import CoreML
import Foundation

enum Units: String, CaseIterable, Identifiable, Sendable {
    case cpuAndNeuralEngine
    case cpuOnly
    case cpuAndGPU
    case all

    var id: String { rawValue }

    var title: String {
        switch self {
        case .cpuAndNeuralEngine: "CPU and Neural Engine"
        case .cpuOnly: "CPU"
        case .cpuAndGPU: "CPU and GPU"
        case .all: "all"
        }
    }

    var coreML: MLComputeUnits {
        switch self {
        case .cpuAndNeuralEngine: .cpuAndNeuralEngine
        case .cpuOnly: .cpuOnly
        case .cpuAndGPU: .cpuAndGPU
        case .all: .all
        }
    }
}

struct CompiledPackage {
    let url: URL
    /// Nil when it had been compiled by an earlier start.
    let compileMs: Double?

    /// Compiles the package and keeps the result under its hash; `anew` forgets an earlier one, so that the next load is a first.
    static func compile(_ package: URL, hash: String, anew: Bool) async throws -> CompiledPackage {
        let support = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let kept = support.appendingPathComponent("\(hash).mlmodelc")
        if FileManager.default.fileExists(atPath: kept.path) {
            if !anew { return CompiledPackage(url: kept, compileMs: nil) }
            try FileManager.default.removeItem(at: kept)
        }
        let started = ContinuousClock.now
        let temporary = try await MLModel.compileModel(at: package)
        let compileMs = milliseconds(since: started)
        try FileManager.default.moveItem(at: temporary, to: kept)
        return CompiledPackage(url: kept, compileMs: compileMs)
    }
}

final class LoadedPackage {
    let interface: PackageInterface
    let units: Units
    private(set) var models: [String: MLModel] = [:]
    private(set) var loads: [Report.Load] = []

    init(interface: PackageInterface, units: Units) {
        self.interface = interface
        self.units = units
    }

    /// Loads one function twice: the first load is when the Neural Engine's compiler runs, the second finds its result.
    func load(_ function: PackageFunction, from compiled: CompiledPackage) throws {
        let first = try LoadedPackage.timedLoad(function, compiled.url, units, isOnly: interface.functions.count == 1)
        let again = try LoadedPackage.timedLoad(function, compiled.url, units, isOnly: interface.functions.count == 1)
        models[function.name] = again.model
        loads.append(
            Report.Load(
                function: function.name, compileMs: compiled.compileMs, firstMs: first.milliseconds,
                warmMs: again.milliseconds))
    }

    static func configuration(_ function: PackageFunction, _ units: Units, isOnly: Bool) -> MLModelConfiguration {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units.coreML
        // A package with one function is loaded by its default, whatever that is called.
        if !isOnly { configuration.functionName = function.name }
        return configuration
    }

    private static func timedLoad(
        _ function: PackageFunction, _ url: URL, _ units: Units, isOnly: Bool
    ) throws -> (model: MLModel, milliseconds: Double) {
        let started = ContinuousClock.now
        let model = try MLModel(contentsOf: url, configuration: configuration(function, units, isOnly: isOnly))
        return (model, milliseconds(since: started))
    }

    func model(_ function: PackageFunction) throws -> MLModel {
        guard let model = models[function.name] else { throw ProbeError("\(function.name) was not loaded") }
        return model
    }
}

func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) * 1e3 + Double(attoseconds) * 1e-15
}
