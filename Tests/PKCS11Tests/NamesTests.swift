import Testing

@testable import PKCS11

@Suite struct NamesTests {
    @Test(arguments: [
        (ReturnValue.ok, "CKR_OK"), (.generalError, "CKR_GENERAL_ERROR"), (.pinIncorrect, "CKR_PIN_INCORRECT"),
        (.keyUnextractable, "CKR_KEY_UNEXTRACTABLE"), (.cryptokiNotInitialized, "CKR_CRYPTOKI_NOT_INITIALIZED"),
        (.bufferTooSmall, "CKR_BUFFER_TOO_SMALL"),
        (ReturnValue(rawValue: 0xCE53_4351), "CKR_0xCE534351"), (ReturnValue(rawValue: 0x8000_00AB), "CKR_0x800000AB"),
    ])
    func returnValues(_ value: ReturnValue, _ name: String) {
        #expect(value.name == name)
        #expect("\(value)" == name)
    }

    @Test func noTwoReturnValuesShareAName() {
        #expect(Set(ReturnValue.names.values).count == ReturnValue.names.count)
        #expect(ReturnValue.names.values.allSatisfy { $0.hasPrefix("CKR_") })
    }

    @Test func errorNamesFunctionAndValue() {
        let plain = PKCS11Error(.decrypt, .generalError)
        #expect(plain.description == "C_Decrypt returned CKR_GENERAL_ERROR")
        let hinted = PKCS11Error(.login, .pinLocked)
        #expect(hinted.message.hasPrefix("C_Login returned CKR_PIN_LOCKED: "))
        #expect(hinted.message.contains("custodyctl token set-pin"))
        #expect(hinted.returnValue == .pinLocked)
        #expect(PKCS11Error(code: .tokenNotFound, message: "").returnValue == nil)
    }

    @Test func functionsHaveTheStandardsNames() {
        #expect(Function.allCases.allSatisfy { $0.rawValue.hasPrefix("C_") })
        #expect(Function(rawValue: "C_WrapKey") == .wrapKey)
    }

    @Test func mechanismsAndAttributes() {
        #expect(Mechanism.aesGCM.description == "CKM_AES_GCM")
        #expect(Mechanism(rawValue: 0x8000_0001).description == "CKM_0x80000001")
        #expect(AttributeType.neverExtractable.description == "CKA_NEVER_EXTRACTABLE")
    }

    @Test(arguments: [("20260131", "2026-01-31"), ("2026013", nil), ("2026013x", nil), ("", nil)])
    func dates(_ text: String, _ expected: String?) {
        #expect(AttributeSet(values: [.endDate: Array(text.utf8)]).date(.endDate) == expected)
    }

    @Test func paddedFieldsEndAtTheirText() {
        let field: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0x61, 0x20, 0x62, 0x20, 0x20)
        #expect(padded(field) == "a b")
        #expect(padded((0x20, 0x20) as (UInt8, UInt8)) == "")
    }
}
