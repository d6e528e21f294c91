// Text to tokens and back, from tokenizer.json: byte-pair encoding (Sennrich et al., 2016) with byte fallback or byte-level symbols.
// The forms it knows are those that `tokenizer-support.ts` of the workbench lets through; for others the probe continues golden
// prompts only. Pure Swift: no Core ML here.

import Foundation

struct BpeTokenizer {
    private struct Rule {
        enum Action {
            case replace(NSRegularExpression?, String, String)
            case prepend(String)
            case compose
        }

        let action: Action
    }

    private enum Split {
        case pattern(NSRegularExpression, String)
        case byteLevel(addsSpace: Bool, NSRegularExpression?)
        case digits(individual: Bool)
    }

    private enum Step {
        case replace(String, String)
        case byteFallback
        case byteLevel
        case strip(String, Int, Int)
    }

    private let ids: [String: Int]
    private let tokens: [Int: String]
    private let ranks: [String: Int]
    private let added: [(content: String, id: Int)]
    private let special: Set<Int>
    private let byteFallback: Bool
    private let ignoresMerges: Bool
    private let fusesUnknown: Bool
    private let unknown: Int?
    private let rules: [Rule]
    private let splits: [Split]
    private let steps: [Step]

    static let gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

    /// Throws `ProbeError` for a form it does not know.
    init(json data: Data) throws {
        guard let root = try JSONSerialization.jsonObject(with: data) as? [String: Any],
            let model = root["model"] as? [String: Any], model["type"] as? String == "BPE",
            let vocabulary = model["vocab"] as? [String: Int]
        else { throw ProbeError("tokenizer.json is no byte-pair encoding") }
        var known = vocabulary
        var marks: [(String, Int)] = []
        var hidden = Set<Int>()
        for token in root["added_tokens"] as? [[String: Any]] ?? [] {
            guard let content = token["content"] as? String, let id = token["id"] as? Int else { continue }
            known[content] = id
            marks.append((content, id))
            if token["special"] as? Bool == true { hidden.insert(id) }
        }
        ids = known
        tokens = Dictionary(known.map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        // The longest first: one may begin another.
        added = marks.sorted { $0.0.count > $1.0.count }.map { (content: $0.0, id: $0.1) }
        special = hidden
        var order: [String: Int] = [:]
        for (rank, merge) in (model["merges"] as? [Any] ?? []).enumerated() {
            let pair = (merge as? [String]) ?? (merge as? String)?.split(separator: " ", maxSplits: 1).map(String.init) ?? []
            if pair.count == 2 { order[pair[0] + "\u{0}" + pair[1]] = rank }
        }
        ranks = order
        byteFallback = model["byte_fallback"] as? Bool ?? false
        ignoresMerges = model["ignore_merges"] as? Bool ?? false
        fusesUnknown = model["fuse_unk"] as? Bool ?? false
        unknown = (model["unk_token"] as? String).flatMap { known[$0] }
        rules = try BpeTokenizer.parts(root["normalizer"], "normalizers").map(BpeTokenizer.rule)
        splits = try BpeTokenizer.parts(root["pre_tokenizer"], "pretokenizers").map(BpeTokenizer.split)
        steps = try BpeTokenizer.parts(root["decoder"], "decoders").compactMap(BpeTokenizer.step)
    }

    /// Without a begin token; tokens written out in the text are taken for themselves.
    func encode(_ text: String) -> [Int] {
        var found: [Int] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            var next: (range: Range<Substring.Index>, id: Int)?
            for mark in added {
                guard let range = rest.range(of: mark.content) else { continue }
                if next == nil || range.lowerBound < next!.range.lowerBound { next = (range, mark.id) }
            }
            let plain = rest[..<(next?.range.lowerBound ?? rest.endIndex)]
            if !plain.isEmpty { found += encodePlain(String(plain)) }
            guard let next else { break }
            found.append(next.id)
            rest = rest[next.range.upperBound...]
        }
        return found
    }

    /// Special tokens are left out.
    func decode(_ sequence: [Int]) -> String {
        var bytes: [UInt8] = []
        for (index, id) in sequence.filter({ !special.contains($0) }).enumerated() {
            bytes += piece(tokens[id] ?? "", isFirst: index == 0)
        }
        var text = String(decoding: bytes, as: UTF8.self)
        for case .strip(let what, let start, _) in steps {
            for _ in 0..<start where text.hasPrefix(what) { text.removeFirst(what.count) }
        }
        return text
    }

    private func piece(_ token: String, isFirst: Bool) -> [UInt8] {
        var text = token
        for step in steps {
            switch step {
            case .replace(let from, let to):
                text = text.replacingOccurrences(of: from, with: to)
            case .byteFallback:
                if let byte = BpeTokenizer.byte(of: text) { return [byte] }
            case .byteLevel:
                return text.unicodeScalars.flatMap { ByteLevel.byte[$0].map { [$0] } ?? Array(String($0).utf8) }
            case .strip:
                break
            }
        }
        return Array(text.utf8)
    }

    /// `<0x0A>` is the byte 10.
    private static func byte(of token: String) -> UInt8? {
        guard token.count == 6, token.hasPrefix("<0x"), token.hasSuffix(">") else { return nil }
        return UInt8(token.dropFirst(3).dropLast(), radix: 16)
    }

    private func encodePlain(_ text: String) -> [Int] {
        var normal = text
        for rule in rules {
            switch rule.action {
            case .replace(let pattern, let literal, let to):
                if let pattern {
                    let all = NSRange(normal.startIndex..., in: normal)
                    normal = pattern.stringByReplacingMatches(
                        in: normal, range: all, withTemplate: NSRegularExpression.escapedTemplate(for: to))
                } else {
                    normal = normal.replacingOccurrences(of: literal, with: to)
                }
            case .prepend(let what):
                if !normal.isEmpty { normal = what + normal }
            case .compose:
                normal = normal.precomposedStringWithCanonicalMapping
            }
        }
        var words = [normal]
        for split in splits { words = words.flatMap { BpeTokenizer.apply(split, $0) } }
        return words.flatMap(merge)
    }

    private static func apply(_ split: Split, _ word: String) -> [String] {
        switch split {
        case .pattern(let pattern, let behavior):
            return cut(word, pattern, behavior)
        case .byteLevel(let addsSpace, let pattern):
            let text = addsSpace && !word.hasPrefix(" ") ? " " + word : word
            let parts = pattern.map { cut(text, $0, "Isolated") } ?? [text]
            return parts.map { part in String(String.UnicodeScalarView(part.utf8.map { ByteLevel.symbol[Int($0)] })) }
        case .digits(let individual):
            let pattern = try? NSRegularExpression(pattern: individual ? "\\p{N}" : "\\p{N}+")
            return pattern.map { cut(word, $0, "Isolated") } ?? [word]
        }
    }

    /// Pieces in order; what lies between matches is a piece of its own.
    private static func cut(_ text: String, _ pattern: NSRegularExpression, _ behavior: String) -> [String] {
        let whole = text as NSString
        var pieces: [(text: String, isMatch: Bool)] = []
        var at = 0
        for match in pattern.matches(in: text, range: NSRange(location: 0, length: whole.length)) where match.range.length > 0 {
            if match.range.location > at {
                pieces.append((whole.substring(with: NSRange(location: at, length: match.range.location - at)), false))
            }
            pieces.append((whole.substring(with: match.range), true))
            at = match.range.location + match.range.length
        }
        if at < whole.length { pieces.append((whole.substring(from: at), false)) }
        switch behavior {
        case "Removed":
            return pieces.filter { !$0.isMatch }.map(\.text)
        case "MergedWithPrevious":
            var joined: [String] = []
            var isOpen = false
            for piece in pieces {
                if piece.isMatch, isOpen { joined[joined.count - 1] += piece.text } else { joined.append(piece.text) }
                isOpen = !piece.isMatch
            }
            return joined
        case "MergedWithNext":
            var joined: [String] = []
            var waiting = ""
            for piece in pieces {
                if piece.isMatch {
                    if !waiting.isEmpty { joined.append(waiting) }
                    waiting = piece.text
                } else {
                    joined.append(waiting + piece.text)
                    waiting = ""
                }
            }
            return waiting.isEmpty ? joined : joined + [waiting]
        default:
            return pieces.map(\.text)
        }
    }

    /// Joins the pair of the lowest rank, the leftmost first, until no pair is known.
    private func merge(_ word: String) -> [Int] {
        if ignoresMerges, let whole = ids[word] { return [whole] }
        var symbols = word.unicodeScalars.map { String($0) }
        while symbols.count > 1 {
            var best: (at: Int, rank: Int)?
            for i in 0..<symbols.count - 1 {
                guard let rank = ranks[symbols[i] + "\u{0}" + symbols[i + 1]] else { continue }
                if best == nil || rank < best!.rank { best = (i, rank) }
            }
            guard let best else { break }
            symbols[best.at] += symbols[best.at + 1]
            symbols.remove(at: best.at + 1)
        }
        var found: [Int] = []
        for symbol in symbols {
            if let id = ids[symbol] {
                found.append(id)
            } else if byteFallback {
                let bytes = symbol.utf8.map { ids[String(format: "<0x%02X>", $0)] }
                if bytes.contains(where: { $0 == nil }) { appendUnknown(&found) } else { found += bytes.compactMap { $0 } }
            } else {
                appendUnknown(&found)
            }
        }
        return found
    }

    private func appendUnknown(_ found: inout [Int]) {
        guard let unknown, !(fusesUnknown && found.last == unknown) else { return }
        found.append(unknown)
    }

    // MARK: reading the parts of tokenizer.json

    private static func parts(_ value: Any?, _ list: String) -> [[String: Any]] {
        guard let part = value as? [String: Any] else { return [] }
        guard part["type"] as? String == "Sequence" else { return [part] }
        return (part[list] as? [[String: Any]] ?? []).flatMap { parts($0, list) }
    }

    private static func rule(_ part: [String: Any]) throws -> Rule {
        switch part["type"] as? String {
        case "Replace":
            let pattern = part["pattern"] as? [String: String] ?? [:]
            let to = part["content"] as? String ?? ""
            if let literal = pattern["String"] { return Rule(action: .replace(nil, literal, to)) }
            return Rule(action: .replace(try NSRegularExpression(pattern: pattern["Regex"] ?? ""), "", to))
        case "Prepend":
            return Rule(action: .prepend(part["prepend"] as? String ?? ""))
        case "NFC":
            return Rule(action: .compose)
        case let other:
            throw ProbeError("the probe does not know the normalizer \(other ?? "?")")
        }
    }

    private static func split(_ part: [String: Any]) throws -> Split {
        switch part["type"] as? String {
        case "Split":
            let pattern = part["pattern"] as? [String: String] ?? [:]
            let text = pattern["Regex"] ?? NSRegularExpression.escapedPattern(for: pattern["String"] ?? "")
            return .pattern(try NSRegularExpression(pattern: text), part["behavior"] as? String ?? "Isolated")
        case "ByteLevel":
            let pattern = part["use_regex"] as? Bool ?? true ? try NSRegularExpression(pattern: gpt2) : nil
            return .byteLevel(addsSpace: part["add_prefix_space"] as? Bool ?? true, pattern)
        case "Digits":
            return .digits(individual: part["individual_digits"] as? Bool ?? false)
        case let other:
            throw ProbeError("the probe does not know the pre-tokenizer \(other ?? "?")")
        }
    }

    private static func step(_ part: [String: Any]) throws -> Step? {
        switch part["type"] as? String {
        case "Replace":
            let pattern = part["pattern"] as? [String: String] ?? [:]
            return .replace(pattern["String"] ?? "", part["content"] as? String ?? "")
        case "ByteFallback":
            return .byteFallback
        case "ByteLevel":
            return .byteLevel
        case "Strip":
            return .strip(part["content"] as? String ?? " ", part["start"] as? Int ?? 0, part["stop"] as? Int ?? 0)
        case "Fuse":
            return nil
        case let other:
            throw ProbeError("the probe does not know the decoder \(other ?? "?")")
        }
    }
}

/// The visible stand-ins that byte-level vocabularies use for bytes: printable Latin-1 as it is, the others from U+0100 on.
enum ByteLevel {
    static let symbol: [Unicode.Scalar] = {
        var table: [Unicode.Scalar] = []
        var shifted: UInt32 = 256
        for byte in UInt32(0)..<256 {
            if (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte) {
                table.append(Unicode.Scalar(byte)!)
            } else {
                table.append(Unicode.Scalar(shifted)!)
                shifted += 1
            }
        }
        return table
    }()

    static let byte: [Unicode.Scalar: UInt8] = Dictionary(
        uniqueKeysWithValues: symbol.enumerated().map { ($1, UInt8($0)) })
}
