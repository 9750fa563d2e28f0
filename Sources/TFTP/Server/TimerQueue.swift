/// Times at which to look at something, the earliest first (a binary heap). An entry stays until its time comes,
/// needed or not; its owner then says whether a later one is wanted. So packets, which move deadlines, cost nothing.
struct TimerQueue {
  struct Entry {
    var time: Nanoseconds
    var token: UInt64
  }

  private var heap: [Entry] = []

  /// The earliest time.
  var next: Nanoseconds? { heap.first?.time }
  var count: Int { heap.count }

  mutating func add(_ token: UInt64, at time: Nanoseconds) {
    heap.append(Entry(time: time, token: token))
    var child = heap.count - 1
    while child > 0, heap[child].time < heap[(child - 1) / 2].time {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Takes out the earliest entry whose time has come.
  mutating func popDue(at now: Nanoseconds) -> Entry? {
    guard let first = heap.first, first.time <= now else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].time < heap[smallest].time {
        smallest = child
      }
      guard smallest != parent else { return first }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
