/// One token as a JSON document.
struct TokenDocument: Encodable {
    let token: TokenView
}
