import CustodyClient
import CustodyProtocol

/// A client that asks for all kinds of things, and has every answer judged.
struct Caller: Sendable {
    let judge: Judge
    let socket: String
    /// Between two requests, on average.
    let pause: Duration

    private var world: World { judge.world }

    /// Goes on until the end of the run.
    func run(seed: UInt64, part: String) async {
        var random = RandomSource(seed: seed, part: part)
        while !world.isOver {
            let client = CustodyClient(.init(
                socket: socket, connections: Int.random(in: 1...2, using: &random), deadline: random.duration(500...5_000)))
            for _ in 0..<Int.random(in: 20...400, using: &random) where !world.isOver {
                // Where everything rests no connection is left either.
                guard await once(client, &random) else { break }
                try? await Task.sleep(for: random.pause(mean: pause))
            }
            await client.shutdown()
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// False if everything has to rest.
    private func once(_ client: CustodyClient, _ random: inout RandomSource) async -> Bool {
        guard world.enter() else { return false }
        defer { world.left() }
        if random.oneIn(15) {
            // Status is asked for alone.
            let trials = (0..<Int.random(in: 2...24, using: &random)).map { _ in Trial.any(&random, judge.treasury) }.filter { $0.name != "status" }
            await batch(trials, client)
        } else if random.oneIn(2) {
            await batch([Trial.any(&random, judge.treasury)], client)
        } else {
            let trial = Trial.any(&random, judge.treasury)
            let snapshot = world.snapshot()
            judge.judge(trial, await client.perform(trial.operation), since: snapshot)
        }
        return true
    }

    /// Answers that a retry might put right are seen as they are.
    func batch(_ trials: [Trial], _ client: CustodyClient) async {
        let snapshot = world.snapshot()
        do {
            let results = try await client.batch(trials.map(\.operation))
            for (trial, result) in zip(trials, results) { judge.judge(trial, result, since: snapshot) }
        } catch {
            for trial in trials { judge.judge(trial, .failure(error), since: snapshot) }
        }
    }
}

extension CustodyClient {
    /// By the call for it, which tries again where that makes sense.
    func perform(_ operation: Operation) async -> Result<Answer, CustodyClientError> {
        do throws(CustodyClientError) {
            switch operation {
            case .wrap(let plaintext, let key, let context):
                return .success(.wrapped(try await wrap(plaintext, key: key, context: context)))
            case .unwrap(let blob, let context): return .success(.unwrapped(try await unwrap(blob, context: context)))
            case .rewrap(let blob, let context): return .success(.wrapped(try await rewrap(blob, context: context)))
            case .generateDataKey(let key, let length, let withPlaintext, let context):
                return .success(.dataKey(try await generateDataKey(key: key, length: length, withPlaintext: withPlaintext, context: context)))
            case .encrypt(let plaintext, let key, let aad):
                return .success(.encrypted(try await encrypt(plaintext, key: key, aad: aad)))
            case .decrypt(let raw, let aad): return .success(.decrypted(try await decrypt(raw, aad: aad)))
            case .status: return .success(.status(try await status()))
            case .metrics: return .success(.status(try await metrics()))
            case .reload: return .success(.reloaded(try await reload()))
            case .disconnect(let uid): return .success(.disconnected(connections: try await disconnect(uid: uid)))
            }
        } catch {
            return .failure(error)
        }
    }
}

/// Asks for the same small thing again and again, without patience: sees when the daemon serves.
struct Prober: Sendable {
    let judge: Judge
    let socket: String

    func run(seed: UInt64) async {
        var random = RandomSource(seed: seed, part: "prober")
        while !judge.world.isOver {
            let client = CustodyClient(.init(socket: socket, deadline: .milliseconds(500)))
            // The kernel tells at connect who is there: a new client now and then.
            for _ in 0..<200 where !judge.world.isOver {
                guard judge.world.enter() else { break }
                defer { judge.world.left() }
                let trial = Trial.wrap(&random, key: "root", context: ["tenant": "prober"])
                let snapshot = judge.world.snapshot()
                var outcome: Judge.Outcome
                do throws(CustodyClientError) {
                    outcome = try await client.batch([trial.operation]).first ?? .failure(CustodyClientError(.protocolViolation, "no result"))
                } catch {
                    outcome = .failure(error)
                }
                judge.judge(trial, outcome, since: snapshot)
                judge.world.probed(began: snapshot.began, isServed: outcome.isDone)
                try? await Task.sleep(for: .milliseconds(25))
            }
            await client.shutdown()
        }
    }
}
