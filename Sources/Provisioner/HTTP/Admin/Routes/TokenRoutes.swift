extension AdminRoutes {
  static let tokens: [AdminRoute] = [
    .route(.get, "tokens", .admin, "Who may use this API over TCP, and what for.") { call in call.appliance.tokens() },
    .route(
      .post, "tokens", .admin, "Make a token. The answer shows it, and nothing ever shows it again.",
      body: CreateToken.self
    ) { call, token in try await call.appliance.createToken(token) },
    .route(.delete, "tokens/{token}", .admin, "Forget a token: it is refused from now on.") { call in
      try await call.appliance.deleteToken(call.pieces["token"] ?? "")
    },
  ]
}
