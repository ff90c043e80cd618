import Testing

@testable import MasterKey

@Suite struct RootKeyRequirementTests {
    private func refusal(_ requirement: RootKeyRequirement, _ layers: EnvelopeLayers) throws -> MasterKeyError.Code? {
        let acme = try TenantName("acme")
        do throws(MasterKeyError) {
            try requirement.check(layers, of: acme)
            return nil
        } catch { return error.code }
    }

    @Test func whatIsRequiredIsWhatPasses() throws {
        let under = { EnvelopeLayers.rootKeyOverKMS(name: $0, version: 1) }
        #expect(RootKeyRequirement("*") == .any && RootKeyRequirement("payments") == .named("payments"))
        #expect(try refusal(.none, .kms) == nil && refusal(.none, under("x")) == nil)
        #expect(try refusal(.any, under("x")) == nil && refusal(.any, .kms) == .rootKeyRequired)
        #expect(try refusal(.named("HR-KEK"), under("HR-KEK")) == nil)
        // The KELVIN SIGN is equal to K for Swift's strings.
        for layers in [.kms, under("hr-kek"), under("HR-\u{212A}EK"), under("")] { #expect(try refusal(.named("HR-KEK"), layers) == .rootKeyRequired) }
    }
}
