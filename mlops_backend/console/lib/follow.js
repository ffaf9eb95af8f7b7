// A text that grows is followed as long as its reader is at its end; who has scrolled up is left where he is.

const NEAR = 80;

/** Keep the end of `element` in view while it grows; returns what ends that, with `toEnd()` to go there. */
export function follow(element) {
  const place = document.scrollingElement;
  let isAtEnd = false;
  const look = () => (isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR);
  const grown = new ResizeObserver(() => isAtEnd && place.scrollTo({ top: place.scrollHeight, behavior: "instant" }));
  addEventListener("scroll", look, { passive: true });
  return {
    begin() {
      grown.observe(element);
    },
    toEnd() {
      isAtEnd = true;
      place.scrollTo({ top: place.scrollHeight, behavior: "instant" });
    },
    end() {
      grown.disconnect();
      removeEventListener("scroll", look);
    },
  };
}
