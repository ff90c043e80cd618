import Foundation
import TestSupport
import Testing

/// The commands that speak to the daemon, as pipes and with files.
@Suite struct WrapTests {
    private static let content: [UInt8] = [0x00, 0xFF, 0x0A, 0x0D] + Array("a KMS's ciphertext".utf8) + [0x0A]

    @Test func textForm() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--key", "payments", input: Self.content)
        #expect(blob.text.hasPrefix("custody:v1:"))
        #expect(blob.text.hasSuffix("\n"))
        #expect(blob.text.split(separator: "\n").count == 1)
        #expect(try await installation.ok("unwrap", input: blob.bytes).bytes == Self.content, "every byte comes back, none is added")

        // As a mail, a YAML file or an editor leaves it.
        for spoiled in ["  \(blob.trimmed)", "\n\n\(blob.trimmed)\r\n\r\n", "\t\(blob.trimmed) \t\n"] {
            #expect(try await installation.ok("unwrap", input: spoiled.utf8).bytes == Self.content)
        }
        let inside = try await installation.refusal("unwrap", input: blob.text.replacing("custody:v1:", with: "custody:v1: ").utf8)
        #expect(inside.code == "malformed-blob", "white space within is not ours to ignore")

        let other = try await installation.ok("rewrap", input: blob.bytes)
        #expect(other.text.hasPrefix("custody:v1:"))
        #expect(other.text != blob.text)
        #expect(try await installation.ok("unwrap", input: other.bytes).bytes == Self.content)
        try await daemon.stop()
    }

    @Test func binaryForm() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let blob = try await installation.ok("wrap", "--binary", "--key", "payments", input: Self.content)
        #expect(blob.bytes.count == Self.content.count + 50)
        #expect(blob.bytes.starts(with: "CTDY".utf8))
        #expect(try await installation.ok("unwrap", input: blob.bytes).bytes == Self.content)
        let other = try await installation.ok("rewrap", "--binary", input: blob.bytes)
        #expect(other.bytes.count == blob.bytes.count)
        #expect(try await installation.ok("unwrap", input: other.bytes).bytes == Self.content)

        // The same bytes in either form are one blob.
        let text = "custody:v1:" + Data(blob.bytes).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        #expect(try await installation.ok("unwrap", input: text.utf8).bytes == Self.content)
        try await daemon.stop()
    }

    @Test func filesAndPipes() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let (input, blob, output) = (installation.directory.file("plain"), installation.directory.file("blob"), installation.directory.file("opened"))
        try installation.directory.write("plain", Self.content)
        // A file that was there, longer and for everybody, is replaced as a whole.
        try installation.directory.write("blob", [UInt8](repeating: 7, count: 10_000), mode: 0o644)
        let wrapped = try await installation.ok("wrap", "--key", "payments", "--in", input, "--out", blob)
        #expect(wrapped.bytes.isEmpty)
        #expect(try installation.mode("blob") == 0o600)
        try await installation.ok("unwrap", "--in", blob, "--out", output)
        #expect(try installation.mode("opened") == 0o600)
        #expect(try installation.content("opened") == Self.content)
        try await installation.ok("rewrap", "--binary", "--in", blob, "--out", blob)
        #expect(try installation.content("blob").starts(with: "CTDY".utf8))
        #expect(try FileManager.default.contentsOfDirectory(atPath: installation.directory.path).filter { $0.hasSuffix(".tmp") }.isEmpty)

        let config = "--config custody.toml"
        let piped = try await installation.start(
            ["/bin/sh", "-c", "cat plain | custodyctl wrap --key payments \(config) | custodyctl rewrap --binary \(config) | custodyctl unwrap \(config)"])
        #expect(try piped.exiting().bytes == Self.content)

        let noInput = try await installation.refusal("wrap", "--key", "payments", "--in", installation.directory.file("none"))
        #expect(noInput.code == "input-failed")
        #expect(noInput.message.contains(installation.directory.file("none")))
        let noOutput = try await installation.refusal("wrap", "--key", "payments", "--out", "/nowhere/blob", input: Self.content)
        #expect(noOutput.code == "output-failed")
        try await daemon.stop()
    }

    @Test func documents() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let wrapped = try await installation.json("wrap", "--key", "payments", input: Self.content)
        #expect(wrapped["key"] == "payments")
        #expect(wrapped["version"] == 1)
        let opened = try await installation.json("unwrap", input: try #require(wrapped["blob"].string).utf8)
        #expect(opened.object.keys.sorted() == ["key", "plaintext_base64", "version"])
        #expect(opened["plaintext_base64"].string == Data(Self.content).base64EncodedString())
        try await daemon.stop()
    }

    @Test func dataKeys() async throws {
        let installation = try await Installation.ready()
        let daemon = try await installation.startDaemon()
        let lines = try await installation.ok("data-key", "--key", "payments", "--context", "tenant=acme").text.split(separator: "\n")
        #expect(lines.count == 2)
        let key = Array(try #require(Data(base64Encoded: String(lines[1]))))
        #expect(key.count == 32)
        #expect(try await installation.ok("unwrap", "--context", "tenant=acme", input: lines[0].utf8).bytes == key)

        let (blob, plaintext) = (installation.directory.file("dek.custody"), installation.directory.file("dek"))
        let quiet = try await installation.ok("data-key", "--key", "payments", "--length", "64", "--out", blob, "--plaintext-out", plaintext)
        #expect(quiet.bytes.isEmpty)
        #expect(try installation.mode("dek.custody") == 0o600)
        #expect(try installation.mode("dek") == 0o600)
        #expect(try installation.content("dek").count == 64)
        #expect(try await installation.ok("unwrap", "--in", blob).bytes == (try installation.content("dek")))

        let without = try await installation.json("data-key", "--key", "payments", "--without-plaintext")
        #expect(without["plaintext_base64"] == .null)
        #expect(try await installation.ok("unwrap", input: try #require(without["blob"].string).utf8).bytes.count == 32)
        for arguments in [["--length", "15"], ["--length", "1025"], ["--without-plaintext", "--plaintext-out", plaintext]] {
            let refused = try await installation.ctl(["data-key", "--key", "payments"] + arguments)
            #expect(refused.status == .exited(64), "\(arguments)")
        }
        try await daemon.stop()
    }

    @Test func status() async throws {
        let installation = try await Installation.ready(keys: ["payments", "storage"])
        let daemon = try await installation.startDaemon()
        try await installation.ok("wrap", "--key", "payments", input: Self.content)
        let before = try await installation.json("status")
        #expect(before["token"]["state"] == "ready")
        #expect(before["token"]["label"] == "custody")
        #expect(before["keys"].array.map { $0["name"] } == ["payments", "storage"])
        #expect(before["audit_writable"] == true)
        #expect(try await installation.ctl("unwrap", input: "nonsense".utf8).exiting(1).bytes.isEmpty)
        try await installation.ok("wrap", "--key", "payments", input: Self.content)
        let after = try await installation.json("status")
        // One wrap and this status more; the nonsense did not even reach the daemon.
        #expect(after["operations"]["allowed"].number == before["operations"]["allowed"].number.map { $0 + 2 })
        #expect(after["operations"]["failed"] == before["operations"]["failed"])
        let text = try await installation.ok("status").text
        for part in ["ready: 'custody'", "payments", "storage", "writable"] { #expect(text.contains(part), "\(part)") }
        try await daemon.stop()
    }
}
