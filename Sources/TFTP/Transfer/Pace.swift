/// How much of a window leaves at once.
///
/// A client of RFC 7440 drops whatever follows a gap, so where blocks are lost, most of a large window is sent for
/// nothing. The window is agreed upon and stays, but after a loss its blocks leave in pieces, a round trip apart: word
/// of a gap comes before the next piece is due, and stops it. What arrives makes the pieces larger again.
struct Pace: Hashable, Sendable {
  private let window: Int64
  private(set) var blocksAtOnce: Int64

  init(window: Int64) {
    self.window = window
    blocksAtOnce = window
  }

  mutating func windowArrived() {
    blocksAtOnce = min(window, blocksAtOnce * 2)
  }

  mutating func blocksWereLost() {
    blocksAtOnce = max(1, blocksAtOnce / 4)
  }
}
