// Which unit Core ML would run each operation on, and what share of the cost it takes for it: MLComputePlan, read on this device.

import CoreML
import Foundation

enum PlacementReader {
    static func read(_ function: PackageFunction, _ compiled: URL, _ units: Units, isOnly: Bool) async throws -> Report.Placement {
        let configuration = LoadedPackage.configuration(function, units, isOnly: isOnly)
        let plan = try await MLComputePlan.load(contentsOf: compiled, configuration: configuration)
        guard case .program(let program) = plan.modelStructure else {
            throw ProbeError("Core ML does not show the package as a program")
        }
        let found = program.functions[function.name] ?? (program.functions.count == 1 ? program.functions.first?.value : nil)
        guard let found else { throw ProbeError("the plan has no function \(function.name)") }
        var operations: [Report.Operation] = []
        collect(found.block, plan, &operations)
        return Report.Placement(function: function.name, operations: operations)
    }

    private static func collect(
        _ block: MLModelStructure.Program.Block, _ plan: MLComputePlan, _ operations: inout [Report.Operation]
    ) {
        for operation in block.operations {
            let usage = plan.deviceUsage(for: operation)
            let cost = plan.estimatedCost(of: operation)?.weight
            operations.append(
                Report.Operation(
                    output: String((operation.outputs.first?.name ?? "").prefix(200)),
                    operator: String(operation.operatorName.prefix(200)),
                    preferred: usage.map { name($0.preferred) } ?? "unknown",
                    supported: Array(Set(usage?.supported.map(name) ?? [])).sorted(),
                    cost: cost.flatMap { $0.isFinite ? min(1, max(0, $0)) : nil }
                ))
            for inner in operation.blocks { collect(inner, plan, &operations) }
        }
    }

    private static func name(_ device: MLComputeDevice) -> String {
        switch device {
        case .cpu: "cpu"
        case .gpu: "gpu"
        case .neuralEngine: "neuralEngine"
        @unknown default: "unknown"
        }
    }
}
