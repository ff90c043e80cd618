import ByteEncoding
import Logging

/// Escapes what is logged before another handler writes it: names of clients' and of tokens' making stand in the lines, and a line
/// feed in one of them must not look like a line of the daemon's own.
public struct EscapingLogHandler: LogHandler {
    private var handler: any LogHandler

    public init(_ handler: any LogHandler) { self.handler = handler }

    public var metadata: Logger.Metadata {
        get { handler.metadata }
        set { handler.metadata = newValue.mapValues(Self.escaped) }
    }
    public var metadataProvider: Logger.MetadataProvider? {
        get { handler.metadataProvider }
        set { handler.metadataProvider = newValue }
    }
    public var logLevel: Logger.Level {
        get { handler.logLevel }
        set { handler.logLevel = newValue }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { handler[metadataKey: key] }
        set { handler[metadataKey: key] = newValue.map(Self.escaped) }
    }

    public func log(event: LogEvent) {
        var event = event
        event.message = "\(VisibleText.escaped(event.message.description))"
        event.metadata = event.metadata?.mapValues(Self.escaped)
        handler.log(event: event)
    }

    private static func escaped(_ value: Logger.Metadata.Value) -> Logger.Metadata.Value { .string(VisibleText.escaped(value.description)) }
}
