import PKCS11

extension Matrix {
    /// Some cells for every run of the tests: every function in each phase, every class of return values, every other trouble,
    /// and each cell that ever failed.
    public static var slice: Matrix {
        var matrix = Matrix()
        var chosen: Set<Cell> = []
        var kinds: Set<String> = []
        let groups = Dictionary(grouping: matrix.cells) { "\($0.function?.rawValue ?? "")/\($0.phase.rawValue)" }
        for (number, group) in groups.keys.sorted().enumerated() {
            let cells = groups[group] ?? []
            let codes = cells.filter { if case .code = $0.trouble { true } else { false } }
            if !codes.isEmpty {
                // Another class for each, as far as they go round.
                let classes = Array(Set(codes.map(\.kind))).sorted()
                let kind = classes.first { !kinds.contains($0) } ?? classes[number % classes.count]
                kinds.insert(kind)
                if let cell = codes.first(where: { $0.kind == kind }) { chosen.insert(cell) }
            }
        }
        // Each other trouble once in each phase, with another function each time.
        let troubles = Dictionary(grouping: matrix.cells.filter { if case .code = $0.trouble { false } else { true } }) {
            "\($0.trouble.name)/\($0.phase.rawValue)"
        }
        for (number, key) in troubles.keys.sorted().enumerated() {
            guard let cells = troubles[key] else { continue }
            chosen.insert(cells[number * 7 % cells.count])
        }
        matrix.isWhole = false
        matrix.cells = matrix.cells.filter { chosen.contains($0) || everFailed.contains("\($0)") }
        return matrix
    }

    /// Cells that once failed, for a fault of Custody's.
    static let everFailed: Set<String> = [
        "C_Initialize/lost-answer-CKR_FUNCTION_FAILED/mid-life",
        "C_Finalize/CKR_CRYPTOKI_NOT_INITIALIZED/mid-life",
        "C_GetTokenInfo/login-lost/mid-life",
        "C_OpenSession/login-lost/mid-life",
        "C_OpenSession/sessions-lost/mid-life",
        "C_FindObjects/long-output/first",
        "C_GenerateKey/CKR_USER_NOT_LOGGED_IN/mid-life",
        "C_WrapKey/CKR_PIN_EXPIRED/mid-life",
        "C_GetTokenInfo/CKR_DEVICE_ERROR/custodyctl",
    ]
}
