// Text continued by the model on the phone.

import SwiftUI

struct ChatView: View {
    @Bindable var runner: ProbeRunner
    @State private var units = Units.cpuAndNeuralEngine
    @State private var prompt = ""
    @State private var answer = ""
    @State private var speed = ""
    @State private var problem: String?
    @State private var isBusy = false
    @State private var work: Task<Void, Never>?
    @State private var loaded: (units: Units, generator: TextGenerator)?

    var body: some View {
        NavigationStack {
            List {
                if let facts = runner.payload?.manifest.tokenizer, !facts.canEncode {
                    Text("The probe cannot turn text into tokens for this model: \(facts.reason).")
                } else {
                    Section("Your text") {
                        TextField("Once upon a time", text: $prompt, axis: .vertical)
                        Picker("Runs on", selection: $units) {
                            ForEach(Units.allCases) { Text($0.title).tag($0) }
                        }
                        if isBusy {
                            Button("Stop") { work?.cancel() }
                        } else {
                            Button("Continue the text") { start() }.disabled(runner.payload == nil || runner.isRunning)
                        }
                    }
                    Section(speed) {
                        Text(prompt + answer).textSelection(.enabled)
                        if let problem { Text(problem).foregroundStyle(.red) }
                    }
                }
            }
            .navigationTitle("Talk")
        }
    }

    private func start() {
        guard let payload = runner.payload else { return }
        isBusy = true
        answer = ""
        speed = "loading"
        problem = nil
        work = Task {
            do {
                let generator: TextGenerator
                if let loaded, loaded.units == units {
                    generator = loaded.generator
                } else {
                    generator = try await TextGenerator(payload: payload, units: units)
                    loaded = (units, generator)
                }
                for try await step in generator.continuation(of: prompt, limit: 128) {
                    answer = step.text
                    speed = "\(number(step.tokensPerSecond, 1)) tokens per second"
                }
            } catch {
                problem = String(describing: error)
            }
            isBusy = false
        }
    }
}
