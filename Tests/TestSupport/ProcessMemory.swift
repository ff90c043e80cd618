import Foundation

/// The writable memory of another process.
public struct ProcessMemory {
    private let path: String
    private let ranges: [(UInt64, UInt64)]

    public init(_ process: Int32) throws {
        path = "/proc/\(process)/mem"
        // Read to its end by hand: such a file has no size, and comes in pieces.
        let maps = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/\(process)/maps"))
        defer { try? maps.close() }
        var text = Data()
        while let piece = try maps.read(upToCount: 4_096), !piece.isEmpty { text += piece }
        ranges = String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 1, fields[1].hasPrefix("rw") else { return nil }
            let bounds = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            return bounds.count == 2 ? (bounds[0], bounds[1]) : nil
        }
    }

    /// All of it as it is now.
    public func copy() throws -> [Data] {
        let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        defer { try? handle.close() }
        return try ranges.compactMap { start, end in
            try handle.seek(toOffset: start)
            // Special mappings can't be read.
            return try? handle.read(upToCount: Int(end - start))
        }
    }

    /// How often the bytes stand in it.
    public func count(of pattern: [UInt8]) throws -> Int {
        let needle = Data(pattern)
        var count = 0
        for data in try copy() {
            var from = data.startIndex
            while let found = data.range(of: needle, in: from..<data.endIndex) {
                count += 1
                from = found.upperBound
            }
        }
        return count
    }
}
