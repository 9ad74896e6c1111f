element("connect").insertAdjacentHTML("beforebegin", `
  <label>E-mail address <input name="username" type="email" autocomplete="username" required></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>`);

async function post(path, options) {
  const response = await fetch(path, { method: "POST", ...options });
  const body = await response.json();
  if (!response.ok) {
    throw new Error(body.detail);
  }
  return body;
}

protocols = async () => {
  const account = new URLSearchParams(new FormData(element("connection")));
  const { access_token: token } = await post("v1/auth/token", { body: account });
  const { ticket } = await post("v1/ws/tickets", { headers: { Authorization: `Bearer ${token}` } });
  return ["rooms.v1", `ticket.${ticket}`];
};
