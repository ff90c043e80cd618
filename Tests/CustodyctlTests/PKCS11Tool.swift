import TestSupport

extension Installation {
    /// 16 bytes that look like the CKA_ID of a version 1.
    static let id = "00000001" + "a1a2a3a4a5a6a7a8a9aaabac"

    /// Runs OpenSC's tool on the token as the user, as somebody does who goes past `custodyctl`.
    func pkcs11Tool(_ arguments: String...) async throws {
        let environment = ["SOFTHSM2_CONF": directory.file("softhsm2.conf"), "PIN": SoftHSMToken.userPIN]
        let fixed = ["pkcs11-tool", "--module", token.modulePath, "--token-label", "custody", "--login", "--pin", "env:PIN"]
        _ = try await start(fixed + arguments, environment: environment).exiting()
    }

    /// A key that the token may hand out.
    func makeExtractableKey(_ name: String, id: String = Installation.id) async throws {
        try await pkcs11Tool(
            "--keygen", "--key-type", "AES:32", "--label", name, "--id", id, "--extractable", "--sensitive",
            "--private", "--usage-decrypt")
    }

    /// A key that somebody knows, with attributes as good as they get.
    func importKey(_ name: String, id: String = Installation.id) async throws {
        try directory.write("value", [UInt8](1...32))
        try await pkcs11Tool(
            "--write-object", directory.file("value"), "--type", "secrkey", "--key-type", "AES:32", "--label", name, "--id", id,
            "--sensitive", "--private", "--usage-decrypt")
    }

    /// What anybody can make without the PIN.
    func makePublicKey(_ name: String, id: String) async throws {
        try directory.write("value", [UInt8](1...32))
        _ = try await start(
            [
                "pkcs11-tool", "--module", token.modulePath, "--token-label", "custody", "--write-object", directory.file("value"),
                "--type", "secrkey", "--key-type", "AES:32", "--label", name, "--id", id, "--usage-decrypt", "--extractable",
            ], environment: ["SOFTHSM2_CONF": directory.file("softhsm2.conf")]).exiting()
    }

    /// A key that was made on the token and can't leave it.
    func makeKey(_ name: String, id: String = Installation.id) async throws {
        try await pkcs11Tool(
            "--keygen", "--key-type", "AES:32", "--label", name, "--id", id, "--sensitive", "--private", "--usage-decrypt")
    }
}
