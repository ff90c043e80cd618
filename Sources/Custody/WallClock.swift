import Glibc

/// The time of day in UTC as RFC 3339 with microseconds; the date's text is made once a second.
struct WallClock: Sendable {
    private var second = -1
    private var prefix = ""

    mutating func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        if time.tv_sec != second {
            var parts = tm()
            gmtime_r(&time.tv_sec, &parts)
            second = time.tv_sec
            prefix = [
                pad(Int(parts.tm_year) + 1900, 4), "-", pad(Int(parts.tm_mon) + 1, 2), "-", pad(Int(parts.tm_mday), 2), "T",
                pad(Int(parts.tm_hour), 2), ":", pad(Int(parts.tm_min), 2), ":", pad(Int(parts.tm_sec), 2), ".",
            ].joined()
        }
        return prefix + pad(time.tv_nsec / 1000, 6) + "Z"
    }

    /// Milliseconds since 1970.
    static var milliseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(clamping: time.tv_sec * 1_000 + time.tv_nsec / 1_000_000)
    }

    private func pad(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
