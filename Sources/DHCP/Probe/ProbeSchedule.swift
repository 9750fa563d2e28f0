import NetworkTypes

/// Which probes are on their way, and what is due: two questions to each address, half a second apart, and
/// as long again for an answer. Without clock or network.
struct ProbeSchedule {
  struct Target: Hashable, Sendable {
    var address: IPv4Address
    /// The network's number.
    var network: Int
  }

  /// Addresses begun in a second, of all networks together, at most: twice as many frames.
  static let addressesPerSecond = 64
  static let pauseMilliseconds = 500
  /// How often ``begin(at:asking:)`` is worth calling.
  static let roundMilliseconds = 250
  private static let addressesPerRound = addressesPerSecond * roundMilliseconds / 1000

  private var waiting: [(target: Target, questions: Int, due: Int)] = []
  private var nextRound = Int.min

  /// Begins with what `addresses` gives, if it is time for more.
  /// - Parameters:
  ///   - now: Milliseconds on a clock that only goes forward.
  ///   - addresses: Asked for so many addresses at most.
  /// - Returns: Whom to ask now.
  mutating func begin(at now: Int, asking addresses: (Int) -> [Target]) -> [Target] {
    guard now >= nextRound else { return [] }
    nextRound = now + Self.roundMilliseconds
    let targets = addresses(Self.addressesPerRound)
    for target in targets { waiting.append((target, 1, now + Self.pauseMilliseconds)) }
    return targets
  }

  /// Whom to ask again now, and who has not answered. Those begun first come first.
  mutating func due(at now: Int) -> (again: [Target], silent: [Target]) {
    var again: [Target] = []
    var silent: [Target] = []
    var rest: [(target: Target, questions: Int, due: Int)] = []
    for entry in waiting {
      if entry.due > now {
        rest.append(entry)
      } else if entry.questions == 1 {
        again.append(entry.target)
        rest.append((entry.target, 2, now + Self.pauseMilliseconds))
      } else {
        silent.append(entry.target)
      }
    }
    waiting = rest
    return (again, silent)
  }

  /// Forgets a probe: it was answered, or could not be sent.
  mutating func end(_ address: IPv4Address) {
    waiting.removeAll { $0.target.address == address }
  }
}
