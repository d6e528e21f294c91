// The hash that names a package: one line per file, `<sha256> <size> <path>`, sorted by the bytes of the path; the SHA-256 of
// these lines. The twin of lib/formats/coreml/package-hash.ts of the workbench. Files are read in pieces.

import CryptoKit
import Foundation

struct PackageHash {
    let sha256: String
    let weightsSha256: String?
    let sizeBytes: Int

    init(package: URL) throws {
        var lines: [(path: String, line: String)] = []
        var weights: String?
        var total = 0
        let root = package.resolvingSymlinksInPath().path
        let keys: [URLResourceKey] = [.isRegularFileKey]
        guard let files = FileManager.default.enumerator(at: package.resolvingSymlinksInPath(), includingPropertiesForKeys: keys)
        else { throw ProbeError("\(package.lastPathComponent) cannot be read") }
        for case let file as URL in files {
            guard try file.resourceValues(forKeys: Set(keys)).isRegularFile == true else { continue }
            let path = String(file.resolvingSymlinksInPath().path.dropFirst(root.count + 1))
            // Hidden files are the system's, not the package's.
            if path.split(separator: "/").contains(where: { $0.hasPrefix(".") }) { continue }
            let (digest, size) = try PackageHash.digest(of: file)
            lines.append((path, "\(digest) \(size) \(path)\n"))
            total += size
            if path == "Data/com.apple.CoreML/weights/weight.bin" { weights = digest }
        }
        lines.sort { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
        var hash = SHA256()
        for entry in lines { hash.update(data: Data(entry.line.utf8)) }
        sha256 = PackageHash.hexadecimal(hash.finalize())
        weightsSha256 = weights
        sizeBytes = total
    }

    private static func digest(of file: URL) throws -> (String, Int) {
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        var hash = SHA256()
        var size = 0
        while let piece = try handle.read(upToCount: 4 << 20), !piece.isEmpty {
            hash.update(data: piece)
            size += piece.count
        }
        return (hexadecimal(hash.finalize()), size)
    }

    private static func hexadecimal(_ digest: some Sequence<UInt8>) -> String {
        digest.map { String(format: "%02x", $0) }.joined()
    }
}
