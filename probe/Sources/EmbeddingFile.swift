// Rows of an embedding kept beside the package: a safetensors file that is mapped, not read. fp16 rows, int8 or int4 codes with fp16
// scales of rows and columns, or palettes of 1 to 8 bits; docs/package-interface.md, section "The embedding file". The model's own
// factor is applied in fp32 and rounded to fp16 once. Pure Swift.

import Foundation

struct EmbeddingFile: EmbeddingRows {
    private struct Entry {
        let dtype: String
        let shape: [Int]
        let start: Int
        let end: Int
    }

    private enum Form {
        case dense
        /// Codes of `bits`, a scale and perhaps an offset for every block of rows × columns.
        case affine(bits: Int, scales: Entry, offsets: Entry?)
        /// Indices of `bits`, a table for every block of rows.
        case palette(bits: Int, tables: Entry)
    }

    private let data: Data
    private let factor: Float
    private let form: Form
    /// fp16 elements, codes or indices.
    private let elements: Entry
    private let vocab: Int
    private let columns: Int

    init(url: URL, factor: Float) throws {
        data = try Data(contentsOf: url, options: .alwaysMapped)
        self.factor = factor
        let name = url.lastPathComponent
        let entries = try EmbeddingFile.entries(data, name)
        func matrix(_ key: String, _ dtypes: String...) -> Entry? {
            entries[key].flatMap { $0.shape.count == 2 && $0.shape.allSatisfy { $0 > 0 } && dtypes.contains($0.dtype) ? $0 : nil }
        }
        let bits: Int
        if let plain = matrix("embedding", "F16") {
            (elements, form, bits) = (plain, .dense, 16)
        } else if let codes = matrix("codes", "I8", "U8"), let scales = matrix("scales", "F16") {
            bits = codes.dtype == "I8" ? 8 : 4
            (elements, form) = (codes, .affine(bits: bits, scales: scales, offsets: matrix("offsets", "I8")))
        } else if let indices = matrix("indices", "U8"), let tables = matrix("tables", "F16") {
            bits = tables.shape[1].trailingZeroBitCount
            guard tables.shape[1] == 1 << bits, (1...8).contains(bits) else { throw ProbeError("\(name) has tables of \(tables.shape[1])") }
            (elements, form) = (indices, .palette(bits: bits, tables: tables))
        } else {
            throw ProbeError("\(name) holds no embedding that the probe knows")
        }
        vocab = elements.shape[0]
        columns = elements.dtype == "U8" ? elements.shape[1] * 8 / bits : elements.shape[1]
        guard entries.values.allSatisfy({ $0.end <= data.count }) else { throw ProbeError("\(name) is cut short") }
        switch form {
        case .dense: break
        case .affine(_, let scales, let offsets):
            guard vocab % scales.shape[0] == 0, columns % scales.shape[1] == 0, offsets.map({ $0.shape == scales.shape }) ?? true
            else { throw ProbeError("\(name) has scales that do not divide its codes") }
        case .palette(_, let tables):
            guard vocab % tables.shape[0] == 0 else { throw ProbeError("\(name) has tables that do not divide its rows") }
        }
    }

    private static func entries(_ data: Data, _ name: String) throws -> [String: Entry] {
        guard data.count >= 8 else { throw ProbeError("\(name) is cut short") }
        let length = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
        guard length > 0, length < 1 << 24, 8 + length <= data.count,
            let header = try JSONSerialization.jsonObject(with: data.subdata(in: 8..<8 + length)) as? [String: Any]
        else { throw ProbeError("\(name) is no safetensors file") }
        let widths = ["F16": 2, "I8": 1, "U8": 1]
        var found: [String: Entry] = [:]
        for (key, value) in header {
            guard let fields = value as? [String: Any], let dtype = fields["dtype"] as? String,
                let shape = fields["shape"] as? [Int], let offsets = fields["data_offsets"] as? [Int], offsets.count == 2
            else { continue }
            guard let width = widths[dtype], offsets[0] >= 0, offsets[1] - offsets[0] == shape.reduce(width, *) else {
                throw ProbeError("\(name) holds no embedding that the probe knows")
            }
            found[key] = Entry(dtype: dtype, shape: shape, start: 8 + length + offsets[0], end: 8 + length + offsets[1])
        }
        return found
    }

    func row(_ token: Int) throws -> [Float16] {
        guard token >= 0, token < vocab else { throw ProbeError("token \(token) has no row") }
        let first = token * columns
        switch form {
        case .dense:
            return (0..<columns).map { scaled(half(elements, first + $0)) }
        case .affine(let bits, let scales, let offsets):
            let group = token / (vocab / scales.shape[0]) * scales.shape[1]
            let run = columns / scales.shape[1]
            return (0..<columns).map {
                let block = group + $0 / run
                let raw = code(first + $0, bits)
                let signed = raw >= 1 << (bits - 1) ? raw - (1 << bits) : raw
                let offset = offsets.map { Int(Int8(bitPattern: data[$0.start + block])) } ?? 0
                return scaled(Float16(Float(half(scales, block)) * Float(signed - offset)))
            }
        case .palette(let bits, let tables):
            let base = token / (vocab / tables.shape[0]) * tables.shape[1]
            return (0..<columns).map { scaled(half(tables, base + code(first + $0, bits))) }
        }
    }

    private func scaled(_ value: Float16) -> Float16 { Float16(Float(value) * factor) }

    /// Element `index` of codes of `bits`: one stream of bits, the lowest first.
    private func code(_ index: Int, _ bits: Int) -> Int {
        let bit = index * bits
        let at = elements.start + bit / 8
        let shift = bit % 8
        let next = shift + bits > 8 ? Int(data[at + 1]) << 8 : 0
        return (Int(data[at]) | next) >> shift & ((1 << bits) - 1)
    }

    private func half(_ entry: Entry, _ index: Int) -> Float16 {
        let at = entry.start + 2 * index
        return Float16(bitPattern: UInt16(data[at]) | UInt16(data[at + 1]) << 8)
    }
}

extension RowTables {
    /// What the interface asks for; `find` says where a file lies.
    init(_ interface: PackageInterface, find: (String) throws -> URL) throws {
        let outside = interface.embedding?.location == "host" ? interface.embedding : nil
        embedding = try outside?.file.map { try EmbeddingFile(url: find($0), factor: outside?.scale ?? 1) }
        perLayer = try interface.perLayer.map { try EmbeddingFile(url: find($0.file), factor: $0.scale) }
    }
}
