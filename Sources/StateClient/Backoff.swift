/// How long to wait before the next try: doubling from `first` to `longest`, each between half and
/// the whole of that, so that many nodes that failed together do not come back together.
package struct Backoff: Hashable, Sendable {
  /// Seconds.
  package let first: Double
  package let longest: Double
  /// Tries that failed so far.
  package private(set) var failures = 0

  package init(first: Double = 1, longest: Double = 60) {
    self.first = first
    self.longest = longest
  }

  /// Seconds to wait after one more failure.
  package mutating func next(using generator: inout some RandomNumberGenerator) -> Double {
    // 2^20 times anything sensible is beyond `longest`; the cap keeps the shift defined.
    let whole = min(longest, first * Double(1 << min(failures, 20)))
    failures += 1
    return Double.random(in: (whole / 2)...whole, using: &generator)
  }

  package mutating func next() -> Double {
    var generator = SystemRandomNumberGenerator()
    return next(using: &generator)
  }

  /// A success: the next failure waits `first` again.
  package mutating func reset() {
    failures = 0
  }
}
