import ArgumentParser

/// Arguments of the form `key=value`.
package enum KeyValue {
    /// Splits each text at its first `=`.
    package static func dictionary(_ texts: [String], flag: String) throws -> [String: String] {
        var entries: [String: String] = [:]
        for text in texts {
            guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
                throw ValidationError("\(flag) '\(text)' is not key=value")
            }
            let key = String(text[..<equals])
            guard entries.updateValue(String(text[text.index(after: equals)...]), forKey: key) == nil else {
                throw ValidationError("\(flag) names '\(key)' twice")
            }
        }
        return entries
    }
}
