/// Nanoseconds: a time of a clock that only goes forward, or the length between two such times.
package typealias Nanoseconds = Int64

extension Nanoseconds {
  package static func seconds(_ count: Int) -> Nanoseconds { Nanoseconds(count) * 1_000_000_000 }
  package static func milliseconds(_ count: Int) -> Nanoseconds { Nanoseconds(count) * 1_000_000 }
}

/// How long to wait for an answer before sending again, from the round trips seen (the method of RFC 6298).
package struct RoundTripEstimator: Hashable, Sendable {
  /// Before anything was measured.
  package static let initial: Nanoseconds = .seconds(1)
  /// Shorter waits find losses no sooner than a busy ROM finds the time to answer.
  package static let floor: Nanoseconds = .milliseconds(50)

  /// The longest wait.
  package let ceiling: Nanoseconds
  /// The mean round trip; `nil` before the first.
  package private(set) var smoothed: Nanoseconds?
  private var variation: Nanoseconds = 0
  private var doublings = 0

  package init(ceiling: Nanoseconds) {
    self.ceiling = ceiling
  }

  /// The time to wait now.
  package var timeout: Nanoseconds {
    let base = smoothed.map { Swift.max(Self.floor, $0 + 4 * variation) } ?? Self.initial
    return base >= ceiling >> Nanoseconds(doublings) ? ceiling : base << Nanoseconds(doublings)
  }

  /// - Parameter roundTrip: Of something that was sent once only (Karn): otherwise nobody knows which was answered.
  package mutating func measured(_ roundTrip: Nanoseconds) {
    var sample = Swift.max(roundTrip, 0)
    if let mean = smoothed {
      // Where an ACK is lost, the client's repetition of it looks like a round trip of a second: one such sample must
      // not make the next wait long. Where round trips really are longer now, the following samples say so too.
      sample = Swift.min(sample, 4 * mean + Self.floor)
      variation += ((mean - sample).magnitudeClamped - variation) / 4
      smoothed = mean + (sample - mean) / 8
    } else {
      smoothed = sample
      variation = sample / 2
    }
    doublings = 0
  }

  /// Something was acknowledged that was sent more than once. The longer wait holds, but not the longest: after a run of
  /// losses the next one would cost seconds.
  package mutating func progressed() {
    doublings = Swift.min(doublings, 3)
  }

  /// The client was heard, though not with news: waits need not get longer.
  package mutating func signOfLife() {
    doublings = 0
  }

  /// No answer came in time. The longer wait holds until a round trip is measured again: where round trips
  /// are longer than was thought, everything would be sent twice otherwise, and none ever be measured.
  package mutating func timedOut() {
    doublings = Swift.min(doublings + 1, 16)
  }
}

extension Nanoseconds {
  fileprivate var magnitudeClamped: Nanoseconds { self == .min ? .max : abs(self) }
}
