public import Custody

/// Tests write names down; one that is none is the test's own mistake.
extension KeyName: ExpressibleByStringInterpolation {
    public init(stringLiteral text: String) {
        do throws(CustodyError) {
            self = try KeyName(text)
        } catch {
            fatalError(error.message)
        }
    }
}
