import CTestSupport
import Foundation

extension Data {
    /// Whether these bytes stand in it; fast enough for whole folders of databases.
    public func holds(_ bytes: some Collection<UInt8>) -> Bool {
        let needle = Array(bytes)
        return withUnsafeBytes { ctest_find($0.baseAddress, $0.count, needle, needle.count) >= 0 }
    }
}
