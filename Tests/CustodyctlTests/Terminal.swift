import TestSupport

extension Installation {
    /// Runs `custodyctl` at a terminal of its own, as a person does who answers its questions.
    ///
    /// - Parameters:
    ///   - answers: What to type once this text is on the screen.
    ///   - interlude: What somebody else does with `custodyctl` before the first answer.
    /// - Returns: What was on the screen, both outputs and the echo together.
    func atTerminal(_ arguments: [String], answering answers: [String: String], butFirst interlude: String? = nil) async throws -> Reply {
        // Answers go by a file: what is in an argument every user of the machine can read.
        try directory.write("answers", answers.map { "\($0)\t\($1)\n" }.joined())
        return try await start(
            ["/usr/bin/python3", "-c", Self.typist, directory.file("answers"), "custodyctl"] + arguments + ["--config", configurationFile],
            environment: interlude.map { ["INTERLUDE": "custodyctl \($0) --config '\(configurationFile)' >&2"] } ?? [:])
    }

    /// Waits for each question before it answers: what was typed earlier is thrown away, so that nobody answers unseen.
    private static let typist = """
        import os, pty, sys
        interlude = os.environ.pop("INTERLUDE", "true")
        answers = dict(line.rstrip("\\n").encode().split(b"\\t") for line in open(sys.argv[1]))
        child, screen = pty.fork()
        if child == 0:
            os.execvp(sys.argv[2], sys.argv[2:])
        seen = unread = b""
        while True:
            try:
                data = os.read(screen, 4096)
            except OSError:  # Linux says so when the last process has closed the terminal.
                break
            if not data:
                break
            seen += data
            unread += data
            for question in answers:
                if question in unread:
                    unread = unread.split(question, 1)[1]
                    if os.system(interlude) != 0:
                        sys.exit("the interlude failed")
                    interlude = "true"
                    os.write(screen, answers[question] + b"\\n")
        os.write(1, seen)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
}
