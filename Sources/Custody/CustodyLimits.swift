/// The bounds of what one operation may carry.
public enum CustodyLimits {
    /// The largest plaintext, in bytes. Custody wraps keys and small secrets, not files.
    public static let plaintext = 65_536
    /// The largest AAD of the raw form, in bytes.
    public static let rawAAD = 8_192
    /// The most entries of an encryption context or of labels.
    public static let contextEntries = 32
    /// The longest key of a context entry, in bytes of UTF-8.
    public static let contextKey = 128
    /// The longest value of a context entry, in bytes of UTF-8.
    public static let contextValue = 1_024
    /// The shortest and the longest data key, in bytes.
    public static let dataKey = 16...1_024
    /// The longest name of a root key, in bytes.
    public static let keyName = 64
}
