for (const picture of document.querySelectorAll(".pictures img")) {
  const turn = () => picture.parentElement.classList.toggle("large");
  picture.addEventListener("click", turn);
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter") turn();
  });
}
