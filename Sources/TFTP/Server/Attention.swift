/// Whether to look for a client's next packet for a moment without sleeping.
///
/// A client that answers at once is answered sooner so, and at no more processor time: to be woken costs more than to look.
/// One that needs longer than that is looked for seldom.
struct Attention {
  /// For how long: about what it takes to be woken.
  static let time: Nanoseconds = 20_000
  private static let longestRest = 64

  /// Packets to sleep for.
  private var rest = 0
  private var nextRest = 1

  /// Asked once for each packet.
  mutating func isWorthwhile() -> Bool {
    guard rest > 0 else { return true }
    rest -= 1
    return false
  }

  mutating func found() {
    nextRest = 1
  }

  mutating func missed() {
    rest = nextRest
    nextRest = min(2 * nextRest, Self.longestRest)
  }
}
