// The measurements for one choice of compute units, one after another: loads, golden vectors, speed over contexts, sustained speed,
// placement. A stage that fails is written down and the next one goes on, so that a report says as much as can be known.

import CoreML
import Foundation

struct MeasurementSettings: Sendable {
    var units: [Units] = [.cpuAndNeuralEngine, .cpuOnly]
    var sustainedMinutes = 0.0
    var timedTokens = 128
    var timedPrefills = 8
    var warmUp = 2
    /// Forgets what was compiled before, so that the first load is one.
    var compilesAnew = true
}

/// Told from the thread that measures.
struct MeasurementProgress: Sendable {
    let stage: @Sendable (String) -> Void
    let window: @Sendable (Report.Window) -> Void
    let isCancelled: @Sendable () -> Bool
}

struct Measurement {
    let payload: Payload
    let settings: MeasurementSettings
    let progress: MeasurementProgress

    private var interface: PackageInterface { payload.manifest.interface }

    /// Not main: predictions block the thread.
    func run(_ units: Units, _ compiled: CompiledPackage) async -> Report.Run {
        var run = Report.Run(computeUnits: units.rawValue)
        let before = DeviceFacts.footprintBytes
        let package = LoadedPackage(interface: interface, units: units)
        for function in interface.functions {
            progress.stage("\(units.title): loading \(function.name)")
            attempt("load \(function.name)", &run) { _ in try package.load(function, from: compiled) }
        }
        run.loads = package.loads
        let loaded = DeviceFacts.footprintBytes
        var peak = loaded
        for goldenCase in payload.golden.cases where !progress.isCancelled() {
            progress.stage("\(units.title): \(goldenCase.name)")
            attempt(goldenCase.name, &run) { run in run.parity.append(try parity(goldenCase, package)) }
            peak = max(peak, DeviceFacts.footprintBytes)
        }
        for decode in interface.decodeFunctions where !progress.isCancelled() {
            progress.stage("\(units.title): speed of \(decode.name)")
            attempt("speed of \(decode.name)", &run) { run in
                for filled in fillings(decode) {
                    if let timed = try decodeSpeed(decode, filled, package) { run.decode.append(timed) }
                }
            }
            if let prefill = interface.prefill(for: decode) {
                attempt("speed of \(prefill.name)", &run) { run in
                    if let timed = try prefillSpeed(prefill, decode, package) { run.prefill.append(timed) }
                }
            }
            peak = max(peak, DeviceFacts.footprintBytes)
        }
        if settings.sustainedMinutes > 0, let decode = interface.decodeFunctions.first, !progress.isCancelled() {
            progress.stage("\(units.title): sustained speed")
            attempt("sustained speed", &run) { run in run.sustained = try sustained(decode, package) }
            peak = max(peak, DeviceFacts.footprintBytes)
        }
        run.memory = Report.Memory(
            beforeBytes: before, loadedBytes: loaded, peakBytes: peak, availableBytes: DeviceFacts.availableBytes)
        for function in interface.functions where !progress.isCancelled() {
            progress.stage("\(units.title): placement of \(function.name)")
            do {
                run.placement.append(
                    try await PlacementReader.read(
                        function, compiled.url, units, isOnly: interface.functions.count == 1))
            } catch {
                run.failures.append(Report.Failure("placement of \(function.name)", error))
            }
        }
        return run
    }

    private func attempt(_ stage: String, _ run: inout Report.Run, _ work: (inout Report.Run) throws -> Void) {
        do { try work(&run) } catch { run.failures.append(Report.Failure(stage, error)) }
    }

    /// Teacher-forced over prompt and greedy text, then free from the prompt on.
    private func parity(_ goldenCase: Golden.Case, _ package: LoadedPackage) throws -> Report.Parity {
        let decode = try interface.function(goldenCase.decode)
        let prefill = try goldenCase.prefill.map(interface.function)
        var comparison = GoldenComparison(payload.golden, goldenCase)
        let sequence = comparison.sequence
        let ids = sequence.prompt + sequence.greedy.dropLast()
        let forced = try TextSession(package, decode: decode, rows: payload.rows)
        while forced.position < ids.count {
            let at = forced.position
            let left = sequence.prompt.count - at
            let wide = prefill.flatMap { left > 1 && $0.takes(min(left, $0.width), at: at) ? $0 : nil }
            let count = wide.map { min(left, $0.width) } ?? 1
            let rows = try forced.feed(Array(ids[at..<at + count]), through: wide ?? decode)
            for (index, row) in rows.rows.enumerated() { comparison.add(at + row, try rows.row(index)) }
        }
        let free = try TextSession(package, decode: decode, rows: payload.rows)
        var logits = try free.feedPrompt(sequence.prompt, prefill: prefill)
        var greedy: [Int] = []
        while greedy.count < sequence.greedy.count, let next = argmax(logits) {
            greedy.append(next)
            if greedy.count == sequence.greedy.count { break }
            logits = try free.feed([next], through: decode).lastRow()
        }
        return comparison.finish(greedy: greedy)
    }

    /// How much of a context is filled when tokens are timed: little, half, nearly all.
    private func fillings(_ decode: PackageFunction) -> [Int] {
        let most = decode.context - settings.warmUp - settings.timedTokens
        return Array(Set([min(16, most), decode.context / 2, most].map { max(1, min($0, most)) })).sorted()
    }

    private func decodeSpeed(
        _ decode: PackageFunction, _ filled: Int, _ package: LoadedPackage
    ) throws -> Report.Decode? {
        let session = try TextSession(package, decode: decode, rows: payload.rows)
        var logits = try session.feedPrompt(filler(filled), prefill: interface.prefill(for: decode))
        var totals: [Double] = []
        var hosts: [Double] = []
        for call in 0..<settings.warmUp + settings.timedTokens where session.room > 0 {
            if progress.isCancelled() { break }
            let choosing = ContinuousClock.now
            guard let next = argmax(logits) else { throw ProbeError("a logit at position \(session.position) is not finite") }
            let chosenMs = milliseconds(since: choosing)
            let reading = ContinuousClock.now
            logits = try session.feed([next], through: decode).lastRow()
            let callMs = milliseconds(since: reading)
            if call < settings.warmUp { continue }
            totals.append(chosenMs + callMs)
            hosts.append(chosenMs + session.timing.hostMs + max(0, callMs - session.timing.totalMs))
        }
        guard let perToken = Report.Spread(totals) else { return nil }
        return Report.Decode(
            function: decode.name, context: decode.context, filled: filled, perToken: perToken,
            hostPerToken: Report.Spread(hosts))
    }

    private func prefillSpeed(
        _ prefill: PackageFunction, _ decode: PackageFunction, _ package: LoadedPackage
    ) throws -> Report.Prefill? {
        var times: [Double] = []
        for call in 0..<settings.warmUp + settings.timedPrefills where !progress.isCancelled() {
            let session = try TextSession(package, decode: decode, rows: payload.rows)
            _ = try session.feed(filler(prefill.width), through: prefill)
            if call >= settings.warmUp { times.append(session.timing.totalMs) }
        }
        guard let perCall = Report.Spread(times), perCall.mean > 0 else { return nil }
        return Report.Prefill(
            function: prefill.name, context: prefill.context, width: prefill.width, perCall: perCall,
            tokensPerSecond: 1000 * Double(prefill.width) / perCall.mean)
    }

    /// Text after text for some minutes, in windows of ten seconds with the thermal state at their end.
    private func sustained(_ decode: PackageFunction, _ package: LoadedPackage) throws -> Report.Sustained? {
        let windowSeconds = 10.0
        let started = ContinuousClock.now
        var windows: [Report.Window] = []
        var session = try TextSession(package, decode: decode, rows: payload.rows)
        var logits = try session.feedPrompt(filler(1), prefill: nil)
        var opened = milliseconds(since: started)
        var tokens = 0
        while milliseconds(since: started) < settings.sustainedMinutes * 60_000, !progress.isCancelled() {
            if session.room == 0 {
                session = try TextSession(package, decode: decode, rows: payload.rows)
                logits = try session.feedPrompt(filler(1), prefill: nil)
            }
            guard let next = argmax(logits) else { throw ProbeError("a logit at position \(session.position) is not finite") }
            logits = try session.feed([next], through: decode).lastRow()
            tokens += 1
            let now = milliseconds(since: started)
            if now - opened < windowSeconds * 1000 { continue }
            let window = Report.Window(
                atSeconds: now / 1000, tokens: tokens, tokensPerSecond: 1000 * Double(tokens) / (now - opened),
                thermal: DeviceFacts.thermalState)
            windows.append(window)
            progress.window(window)
            opened = now
            tokens = 0
        }
        return windows.isEmpty ? nil : Report.Sustained(function: decode.name, context: decode.context, windows: windows)
    }

    /// A prompt of this many tokens: the golden one, over and over.
    private func filler(_ count: Int) -> [Int] {
        let text = payload.golden.sequences[0].prompt + payload.golden.sequences[0].greedy
        return (0..<count).map { text[$0 % text.count] }
    }
}
