// Continues a text on one loaded package, off the main thread, a piece at a time.

import Foundation

final class TextGenerator: @unchecked Sendable {
    private let payload: Payload
    private let tokenizer: BpeTokenizer
    private let package: LoadedPackage

    init(payload: Payload, units: Units) async throws {
        guard let tokenizer = payload.tokenizer else {
            throw ProbeError("the probe cannot turn text into tokens for this model", hint: payload.manifest.tokenizer.reason)
        }
        self.payload = payload
        self.tokenizer = tokenizer
        package = LoadedPackage(interface: payload.manifest.interface, units: units)
        let compiled = try await CompiledPackage.compile(payload.package, hash: payload.manifest.sha256, anew: false)
        for function in payload.manifest.interface.functions { try package.load(function, from: compiled) }
    }

    struct Step: Sendable {
        /// Everything said so far.
        let text: String
        let tokensPerSecond: Double
    }

    /// Greedy text after `prompt`, until an end token, `limit` tokens or the end of the context.
    func continuation(of prompt: String, limit: Int) -> AsyncThrowingStream<Step, Error> {
        AsyncThrowingStream { continuation in
            let work = Task.detached(priority: .userInitiated) { [self] in
                do {
                    try run(prompt, limit) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    private func run(_ prompt: String, _ limit: Int, _ say: (Step) -> Void) throws {
        let interface = payload.manifest.interface
        let ids = interface.prompt(tokenizer.encode(prompt))
        let contexts = interface.decodeFunctions.sorted { $0.context < $1.context }
        // The smallest context that holds the prompt and what is asked for, so that no token costs more than it must.
        guard let decode = contexts.first(where: { $0.context >= ids.count + limit }) ?? contexts.last, !ids.isEmpty,
            ids.count < decode.context
        else { throw ProbeError("the text is too long: \(ids.count) tokens", hint: "Shorten it.") }
        let session = try TextSession(package, decode: decode, rows: payload.rows)
        var logits = try session.feedPrompt(ids, prefill: interface.prefill(for: decode))
        var made: [Int] = []
        let started = ContinuousClock.now
        while made.count < limit, !Task.isCancelled, let next = argmax(logits), !interface.ends(next) {
            made.append(next)
            let seconds = max(milliseconds(since: started) / 1000, 1e-6)
            say(Step(text: tokenizer.decode(made), tokensPerSecond: Double(made.count - 1) / seconds))
            guard session.room > 0 else { break }
            logits = try session.feed([next], through: decode).lastRow()
        }
    }
}
