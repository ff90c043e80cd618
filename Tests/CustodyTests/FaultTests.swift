import Testing

@testable import Custody
@testable import PKCS11

@Suite struct FaultTests {
    /// The whole table, by return value; only C_Decrypt reads some of them otherwise.
    static let table: [(Fault, [ReturnValue])] = [
        (.pin, [.pinIncorrect, .pinLocked, .pinExpired, .pinInvalid, .pinLengthRange]),
        (.objectGone, [.objectHandleInvalid, .keyHandleInvalid]),
        (.objectForbidden, [.keyFunctionNotPermitted, .keyTypeInconsistent]),
        (.unsupported, [.mechanismInvalid, .mechanismParameterInvalid, .functionNotSupported, .keySizeRange, .randomNoRNG]),
        (.session, [
            .sessionHandleInvalid, .sessionClosed, .operationActive, .operationNotInitialized, .functionCanceled,
            .bufferTooSmall, .argumentsBad, .hostMemory, .deviceMemory, .sessionCount,
        ]),
        (.connection, [
            .tokenNotPresent, .tokenNotRecognized, .deviceRemoved, .userNotLoggedIn, .cryptokiNotInitialized, .slotIDInvalid, .userPINNotInitialized,
            .userAnotherAlreadyLoggedIn, ReturnValue(rawValue: 0x8000_0001), ReturnValue(rawValue: 0xCE53_4351),
        ]),
    ]

    @Test func everyRowForEveryFunction() {
        for (fault, values) in Self.table {
            for value in values {
                for function in Function.allCases where function != .login {
                    #expect(Fault(PKCS11Error(function, value)) == fault, "\(function) \(value)")
                }
            }
        }
    }

    @Test(arguments: [ReturnValue.encryptedDataInvalid, .encryptedDataLengthRange, .dataInvalid, .dataLengthRange])
    func onlyWhatTakesDataFindsItBad(_ value: ReturnValue) {
        for function in Function.allCases where function != .login {
            let expected: Fault = function == .decrypt || function == .encrypt ? .data : .connection
            #expect(Fault(PKCS11Error(function, value)) == expected, "\(function)")
        }
    }

    @Test(arguments: [ReturnValue.generalError, .functionFailed, .deviceError])
    func onlyDecryptIsAmbiguous(_ value: ReturnValue) {
        for function in Function.allCases where function != .login {
            let expected: Fault = function == .decrypt ? .ambiguous : .connection
            #expect(Fault(PKCS11Error(function, value)) == expected, "\(function)")
        }
    }

    /// A new return value must be put somewhere on purpose: whatever has no row must not be taken for a caller's fault.
    @Test func whatHasNoRowIsNeverTheCallersFault() {
        let data: [ReturnValue] = [.encryptedDataInvalid, .encryptedDataLengthRange, .dataInvalid, .dataLengthRange]
        let known = Set(Self.table.flatMap { $0.1 } + [.generalError, .functionFailed, .deviceError] + data)
        for number in ReturnValue.names.keys where !known.contains(ReturnValue(rawValue: number)) {
            #expect(Fault(PKCS11Error(.decrypt, ReturnValue(rawValue: number))) == .connection, "\(ReturnValue(rawValue: number))")
        }
    }

    @Test func errorWithoutAReturnValueIsTheConnections() {
        #expect(Fault(PKCS11Error(code: .tokenNotFound, message: "")) == .connection)
        #expect(Fault(PKCS11Error(code: .moduleNotLoaded, message: "")) == .connection)
    }

    /// Whatever C_Login returns that is not known to be something else counts as a refused PIN: no second try.
    @Test func whatIsNotKnownAtLoginIsAboutThePIN() {
        let unknown = [ReturnValue(rawValue: 0x8000_0001), .functionFailed, .argumentsBad, .pinIncorrect, .pinLocked, .pinExpired]
        for value in unknown { #expect(Fault(PKCS11Error(.login, value)) == .pin, "\(value)") }
        for value in Fault.harmlessAtLogin { #expect(Fault(PKCS11Error(.login, value)) != .pin, "\(value)") }
    }
}
