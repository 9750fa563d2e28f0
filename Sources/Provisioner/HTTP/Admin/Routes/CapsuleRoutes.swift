extension AdminRoutes {
  static let capsules: [AdminRoute] = [
    .route(.get, "vnfs", .read, "Every capsule, with its generations.") { call in call.appliance.capsules() },
    .route(.get, "vnfs/{vnfs}", .read, "One capsule.") { call in try call.appliance.capsule(call.vnfs) },
    .route(
      .post, "vnfs", .admin, "Give a name to a capsule that is in the content store: its next generation.",
      body: RegisterCapsule.self
    ) { call, capsule in
      try await call.appliance.registerCapsule(capsule.name, digest: capsule.digest)
    },
    .route(.delete, "vnfs/{vnfs}", .admin, "Forget a capsule that no node is assigned to.") { call in
      try await call.appliance.deleteCapsule(call.vnfs)
    },
  ]
}

extension AdminCall {
  /// The path's `{vnfs}`.
  var vnfs: String { pieces["vnfs"] ?? "" }
}
