import PKCS11
import TestSupport
import Testing

@Suite struct ModuleTests {
    @Test func loadsByPath() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                #expect(module.name == token.modulePath)
                let info = try module.info()
                #expect(info.manufacturer == "SoftHSM")
                #expect(info.cryptokiVersion.hasPrefix("2."))
            }
        }
    }

    @Test func loadsByTheNameThatP11KitKnows() async throws {
        try await SoftHSM.withToken { token in
            let module = try Module("softhsm2")
            let found = Result { try module.token(matching: token.uri) }
            try module.finalize()
            #expect(try found.get().label == token.label)
        }
    }

    @Test func missingFileIsNamed() throws {
        let error = try failure { () throws(PKCS11Error) in try Module("/nonexistent/libhsm.so") }
        #expect(error.code == .moduleNotLoaded)
        #expect(error.message.contains("/nonexistent/libhsm.so"))
        #expect(error.message.contains("`module`"))
        #expect(error.function == nil)
    }

    @Test func unknownNameIsNamed() throws {
        let error = try failure { () throws(PKCS11Error) in try Module("no-such-hsm") }
        #expect(error.code == .moduleNotLoaded)
        #expect(error.message.contains("'no-such-hsm'"))
        #expect(error.message.contains("list-modules"))
    }

    @Test func textFileIsNoModule() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("libhsm.so", "this is not a shared library\n", mode: 0o755)
        let error = try failure { () throws(PKCS11Error) in try Module(path) }
        #expect(error.code == .moduleNotLoaded)
        #expect(error.message.contains(path))
    }

    @Test func sharedLibraryWithoutPKCS11IsNoModule() throws {
        // A library that every process on this machine has loaded already.
        let error = try failure { () throws(PKCS11Error) in try Module("/proc/self/exe") }
        #expect(error.code == .moduleNotLoaded)
    }

    @Test func initialisesOncePerProcess() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { _ in
                let error = try failure { () throws(PKCS11Error) in try Module(token.modulePath) }
                #expect(error.function == .initialize)
                #expect(error.returnValue == .cryptokiAlreadyInitialized)
            }
        }
    }

    @Test func finalisedModuleAnswersNothing() async throws {
        try await SoftHSM.withToken { token in
            let module = try Module(token.modulePath)
            #expect(!module.isFinalized)
            try module.finalize()
            #expect(module.isFinalized)
            let error = try failure { () throws(PKCS11Error) in try module.slots(withToken: true) }
            #expect(error.function == .getSlotList)
            #expect(error.returnValue == .cryptokiNotInitialized)
            let second = try failure { () throws(PKCS11Error) in try module.finalize() }
            #expect(second.message == "C_Finalize returned CKR_CRYPTOKI_NOT_INITIALIZED")
        }
    }

    @Test func missingBackendIsAnErrorOfInitialize() async throws {
        try await SoftHSM.withToken { token in
            try token.removeTokens()
            let error = try failure { () throws(PKCS11Error) in try Module(token.modulePath) }
            #expect(error.function == .initialize)
            #expect(error.code == .callFailed)
        }
    }

    @Test func showsSlotsAndTokens() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                // SoftHSM always shows one more slot, with a token that is not initialised.
                let slots = try module.slots(withToken: true)
                #expect(slots.count == 2)
                let infos = try slots.map { try module.tokenInfo($0) }
                let info = try #require(infos.first { $0.isInitialized })
                #expect(info.label == "custody")
                #expect(info.manufacturer == "SoftHSM project")
                #expect(info.serial.count == 16)
                #expect(info.isLoginRequired)
                #expect(info.isUserPINInitialized)
                #expect(!info.isUserPINCountLow)
                #expect(!info.isUserPINLocked)
                #expect(!info.isWriteProtected)
                #expect(info.minimumPINLength == 4)
                #expect(info.maximumPINLength == 255)
                #expect(info.maximumSessions == nil)
                let slot = try module.slotInfo(info.slot)
                #expect(slot.id == info.slot)
                #expect(slot.isTokenPresent)
                #expect(slot.slotDescription.contains("SoftHSM"))
            }
        }
    }

    @Test func showsMechanisms() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let slot = try module.token(matching: token.uri).slot
                #expect(try Set(module.mechanisms(slot)).isSuperset(of: [.aesGCM, .aesKeyGeneration, .aesKeyWrap]))
                let generation = try module.mechanismInfo(slot, .aesKeyGeneration)
                #expect(generation.canGenerate)
                #expect(!generation.canEncrypt)
                let gcm = try module.mechanismInfo(slot, .aesGCM)
                #expect(gcm.canEncrypt)
                #expect(gcm.canDecrypt)
                #expect(!gcm.canWrap)
                let error = try failure { () throws(PKCS11Error) in try module.mechanismInfo(slot, Mechanism(rawValue: 0x8000_0001)) }
                #expect(error.message == "C_GetMechanismInfo returned CKR_MECHANISM_INVALID")
            }
        }
    }

    @Test func unknownSlotNamesFunctionAndValue() async throws {
        try await SoftHSM.withToken { token in
            try token.withModule { module in
                let error = try failure { () throws(PKCS11Error) in try module.tokenInfo(SlotID(rawValue: 0xFFFF)) }
                #expect(error.message == "C_GetTokenInfo returned CKR_SLOT_ID_INVALID")
            }
        }
    }
}
