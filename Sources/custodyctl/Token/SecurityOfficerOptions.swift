import ArgumentParser

/// Where the security officer's PIN comes from.
struct SecurityOfficerOptions: ParsableArguments {
    @Option(name: .customLong("so-pin-file"), help: ArgumentHelp(
        "A file with the security officer's PIN that only its owner can read.", valueName: "file"))
    var file: String?

    @Option(name: .customLong("so-pin-fd"), help: ArgumentHelp(
        "An open descriptor to read the security officer's PIN from.", valueName: "n"))
    var descriptor: Int32?

    func reader(isNew: Bool) -> PINReader {
        PINReader(what: "security officer's PIN", flag: "--so-pin", file: file, descriptor: descriptor, isNew: isNew)
    }

    func validate() throws { try reader(isNew: false).validate() }
}
