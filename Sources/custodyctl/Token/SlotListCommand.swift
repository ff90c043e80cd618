import ArgumentParser
import PKCS11
import ToolSupport

/// `slot list`: what the module shows, before any token is chosen.
struct SlotListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the slots and the tokens in them.",
        discussion: "Example: custodyctl slot list --module /usr/lib/softhsm/libsofthsm2.so")

    private struct Document: Encodable {
        struct Slot: Encodable {
            let slot: UInt
            let description: String
            let manufacturer: String
            let tokenPresent: Bool
            let token: TokenView?
        }
        let module: String
        let slots: [Slot]
    }

    @OptionGroup var common: CommonOptions

    func run() throws {
        let access = try common.tokenAccess(needsToken: false)
        let slots = try access.withModule { module in
            try module.slots(withToken: false).map { id in
                let slot = try module.slotInfo(id)
                // A slot whose token does not answer is still a slot.
                let token = slot.isTokenPresent ? try? module.tokenInfo(id) : nil
                return Document.Slot(
                    slot: id.rawValue, description: slot.slotDescription, manufacturer: slot.manufacturer,
                    tokenPresent: slot.isTokenPresent, token: token.map(TokenView.init))
            }
        }
        if common.json { return try Output.json(Document(module: access.module, slots: slots)) }
        guard !slots.isEmpty else { return Output.say("The module \(access.module) shows no slots.") }
        var table = Table(["SLOT", "TOKEN", "STATE", "SERIAL", "MANUFACTURER", "MODEL"])
        for slot in slots {
            if let token = slot.token {
                table.add(
                    "\(slot.slot)", token.initialized ? token.label : "-", token.initialized ? token.summary : "uninitialised",
                    token.serial.isEmpty ? "-" : token.serial, token.manufacturer, token.model)
            } else {
                table.add("\(slot.slot)", "-", slot.tokenPresent ? "does not answer" : "no token", "-", slot.manufacturer, "-")
            }
        }
        table.show()
    }
}
