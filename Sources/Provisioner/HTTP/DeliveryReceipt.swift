import Synchronization

/// Tells once how the delivery of a body ended: when it is told so, or when it is let go because the
/// connection was gone before the body's turn came.
final class DeliveryReceipt: Sendable {
  private let callback: Mutex<(@Sendable (NodeResponse.Delivery) -> Void)?>

  init(_ callback: @escaping @Sendable (NodeResponse.Delivery) -> Void) {
    self.callback = Mutex(callback)
  }

  deinit {
    settle(NodeResponse.Delivery(bytes: 0, seconds: 0, isComplete: false))
  }

  func settle(_ delivery: NodeResponse.Delivery) {
    let callback = callback.withLock { callback in
      defer { callback = nil }
      return callback
    }
    callback?(delivery)
  }
}
