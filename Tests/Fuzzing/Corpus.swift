import Foundation

/// The inputs that are kept: seeds from which fuzzing starts, and whatever once found a mistake.
public enum Corpus {
    /// The inputs of a target, by the names of their files.
    public static func inputs(of target: any FuzzTarget.Type) throws -> [(name: String, bytes: [UInt8])] {
        let folder = Bundle.module.bundleURL.appendingPathComponent("Corpus/\(target.name)")
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map { name in
            (name, Array(try Data(contentsOf: folder.appendingPathComponent(name))))
        }
    }
}
