/// This release.
public enum CustodyRelease {
    public static let version = "0.1.0"
}
