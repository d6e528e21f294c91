// Which unit Core ML would rather run each operation on; constants have no unit and are left out.

import SwiftUI

struct PlacementView: View {
    @Bindable var runner: ProbeRunner

    private struct Row: Identifiable {
        let id: Int
        let operation: Report.Operation
    }

    var body: some View {
        NavigationStack {
            List {
                if runner.report == nil { Text("Measure first: placement is read on the device.") }
                ForEach(runner.report?.runs ?? [], id: \.computeUnits) { run in
                    ForEach(run.placement, id: \.function) { placement in
                        Section("\(run.computeUnits), \(placement.function)") {
                            Fact(name: "on the Neural Engine, by cost", value: share(placement))
                            ForEach(elsewhere(placement)) { row in
                                Fact(name: "\(row.operation.operator) \(row.operation.output)", value: row.operation.preferred)
                            }
                        }
                    }
                }
            }
            .navigationTitle("Operations")
        }
    }

    private func share(_ placement: Report.Placement) -> String {
        let known = placement.operations.filter { $0.preferred != "unknown" && $0.cost != nil }
        let total = known.reduce(0) { $0 + ($1.cost ?? 0) }
        guard total > 0 else { return "not told" }
        let engine = known.filter { $0.preferred == "neuralEngine" }.reduce(0) { $0 + ($1.cost ?? 0) }
        return "\(number(100 * engine / total, 1)) %"
    }

    /// What does not run on the Neural Engine, the dearest first.
    private func elsewhere(_ placement: Report.Placement) -> [Row] {
        placement.operations
            .filter { $0.preferred == "cpu" || $0.preferred == "gpu" }
            .sorted { ($0.cost ?? 0) > ($1.cost ?? 0) }
            .prefix(100)
            .enumerated()
            .map { Row(id: $0.offset, operation: $0.element) }
    }
}
