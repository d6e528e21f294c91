// What to measure, how far it is, and what came out.

import SwiftUI

struct MeasureView: View {
    @Bindable var runner: ProbeRunner
    @State private var minutes = 0.0

    var body: some View {
        NavigationStack {
            List {
                if let manifest = runner.payload?.manifest {
                    Section("Package") {
                        Fact(name: manifest.name, value: bytes(manifest.sizeBytes))
                        Fact(name: "layout", value: manifest.interface.layout.rawValue)
                        ForEach(manifest.interface.functions, id: \.name) { function in
                            Fact(name: function.name, value: "\(function.width) of \(function.context)")
                        }
                    }
                }
                Section("Measure") {
                    ForEach(Units.allCases) { units in
                        Toggle(units.title, isOn: chosen(units))
                    }
                    Stepper("Sustained: \(Int(minutes)) min", value: $minutes, in: 0...30, step: 1)
                    if runner.isRunning {
                        HStack {
                            ProgressView()
                            Text(runner.stage)
                        }
                        Button("Stop") { runner.cancel() }
                    } else {
                        Button("Measure") { start() }
                            .disabled(runner.payload == nil || runner.settings.units.isEmpty)
                    }
                    if let problem = runner.problem { Text(problem).foregroundStyle(.red) }
                }
                if let last = runner.windows.last {
                    Section("Now") {
                        Fact(name: "tokens per second", value: number(last.tokensPerSecond, 1))
                        Fact(name: "thermal state", value: last.thermal)
                    }
                }
                ForEach(runner.report?.runs ?? [], id: \.computeUnits) { run in RunSection(run: run) }
            }
            .navigationTitle("Probe")
        }
    }

    private func chosen(_ units: Units) -> Binding<Bool> {
        Binding(
            get: { runner.settings.units.contains(units) },
            set: { isOn in
                runner.settings.units.removeAll { $0 == units }
                if isOn { runner.settings.units.append(units) }
            })
    }

    private func start() {
        runner.settings.sustainedMinutes = minutes
        Task { await runner.measureForScreen() }
    }
}

struct RunSection: View {
    let run: Report.Run

    var body: some View {
        Section(run.computeUnits) {
            ForEach(run.parity, id: \.case) { parity in
                Fact(
                    name: parity.case,
                    value: parity.passed ? "golden vectors match" : "DIFFERS by \(number(parity.maxLogitDifference, 3))")
            }
            ForEach(run.loads, id: \.function) { load in
                Fact(
                    name: "load \(load.function)",
                    value: "\(number(load.firstMs / 1000, 2)) s, warm \(number((load.warmMs ?? 0) / 1000, 2)) s")
            }
            ForEach(run.decode, id: \.filled) { decode in
                Fact(
                    name: "\(decode.function), \(decode.filled) filled",
                    value: "\(number(1000 / max(decode.perToken.median, 1e-6), 1)) tokens/s")
            }
            ForEach(run.prefill, id: \.function) { prefill in
                Fact(name: prefill.function, value: "\(number(prefill.tokensPerSecond, 0)) tokens/s")
            }
            if let memory = run.memory { Fact(name: "peak memory", value: bytes(memory.peakBytes)) }
            if let last = run.sustained?.windows.last, let first = run.sustained?.windows.first {
                Fact(
                    name: "sustained",
                    value: "\(number(first.tokensPerSecond, 1)) to \(number(last.tokensPerSecond, 1)) tokens/s, \(last.thermal)")
            }
            ForEach(run.failures, id: \.stage) { failure in
                Text("\(failure.stage): \(failure.message)").foregroundStyle(.red)
            }
        }
    }
}

struct Fact: View {
    let name: String
    let value: String

    var body: some View {
        HStack {
            Text(name)
            Spacer()
            Text(value).foregroundStyle(.secondary).monospacedDigit()
        }
    }
}

func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

func bytes(_ count: Int) -> String {
    count < 1_000_000 ? "\(number(Double(count) / 1e3, 0)) kB" : "\(number(Double(count) / 1e6, 1)) MB"
}
