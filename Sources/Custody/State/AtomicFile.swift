/// Files that are replaced as a whole, by their paths.
enum AtomicFile {
    /// Puts a file of mode 0600 in the place of the one of this path, on the disk when this returns.
    static func replace(_ path: String, with content: [UInt8]) throws(FileFailure) {
        try TrustedFolder.containing(path).replace(name(of: path), with: content.span.bytes)
    }

    /// The folder that a file is in.
    static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Its name there.
    static func name(of path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }
}
