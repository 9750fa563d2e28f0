import NetworkTypes

/// Addresses by the time at which they may be free, earliest first: a binary heap.
struct ExpiryQueue {
  private var heap: [(time: Int64, address: IPv4Address)] = []

  var count: Int { heap.count }

  mutating func insert(_ address: IPv4Address, at time: Int64) {
    heap.append((time, address))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].time < heap[parent].time else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes out the earliest address whose time has come.
  mutating func popFirst(at now: Int64) -> (time: Int64, address: IPv4Address)? {
    guard let first = heap.first, first.time <= now else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var least = parent
        for child in (2 * parent + 1)...(2 * parent + 2)
        where child < heap.count && heap[child].time < heap[least].time {
          least = child
        }
        guard least != parent else { break }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    return first
  }
}
